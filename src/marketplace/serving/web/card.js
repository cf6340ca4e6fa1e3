// A card of a product: its photo, name, price and place; a recommendation has its score, "Why this?" and thumbs as well.
import { $, setPhoto } from "./dom.js";
import { productAddress } from "./history.js";
import { money } from "./texts.js";

export function card(product, similar, judging) {
  const node = $("card").content.cloneNode(true);
  const set = (selector, text) => (node.querySelector(selector).textContent = text);
  node.querySelector("a").href = "?" + productAddress(product.product_id);
  setPhoto(node.querySelector("img"), similar ? similar.image_id : product.image_ids[0], "(max-width: 560px) 46vw, 260px");
  set(".name", product.name);
  set(".price", money(product));
  set(".place", product.location);
  if (!similar) return node;
  const likeness = similar.same_photo ? "same photo" : similar.same_text ? "same title" : similar.score.toFixed(2);
  set(".score", similar.close && !similar.same_photo && !similar.same_text ? `close, ${likeness}` : likeness);
  node.querySelector(".score").title = "Similarity of photos and words; 1 is identical";
  if (judging) addTools(node, product, judging);
  return node;
}

// Add the tools of a recommendation: why it is one, and thumbs.
function addTools(node, product, { onWhy, thumbs, onThumb }) {
  node.querySelector(".tools").hidden = false;
  const why = node.querySelector(".why");
  why.setAttribute("aria-label", `Why this? ${product.name}`);
  why.addEventListener("click", () => onWhy(product));
  const buttons = [...node.querySelectorAll(".thumb")];
  if (!thumbs) return switchOff(buttons);
  const draw = () =>
    buttons.forEach((button) => {
      button.setAttribute("aria-pressed", String(String(thumbs[product.product_id]) === button.value));
      button.setAttribute("aria-label", `${button.title}: ${product.name}`);
    });
  buttons.forEach((button) =>
    button.addEventListener("click", async () => {
      const good = button.getAttribute("aria-pressed") === "true" ? null : button.value === "true";
      try {
        await onThumb(product, good);
        thumbs[product.product_id] = good;
        draw();
      } catch {
        switchOff(document.querySelectorAll("#results .thumb"));
      }
    }),
  );
  draw();
}

function switchOff(buttons) {
  buttons.forEach((button) => {
    button.disabled = true;
    button.title = "Ratings cannot be stored at the moment";
    button.setAttribute("aria-label", button.title);
  });
}
