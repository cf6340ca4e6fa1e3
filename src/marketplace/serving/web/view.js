// The parts of the page. Product texts are always set as text, never as HTML.
import { photoPath } from "./api.js";

export const $ = (id) => document.getElementById(id);
const SIZES = [160, 320, 640, 1280];
const ORDERS = { cheapest: (a, b) => a - b, dearest: (a, b) => b - a };
const space = (currency) => (/\p{L}$/u.test(currency) ? " " : "");
export const money = ({ price, currency }) =>
  price == null ? "no price" : currency + space(currency) + price.replace(/\B(?=(\d{3})+(?!\d))(?<!\..*)/g, ",");

export function element(tag, text, className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = className;
  return node;
}

export const counted = (n, noun) => `${n.toLocaleString("en-GB")} ${noun}${n === 1 ? "" : "s"}`;

export function setPhoto(img, image, sizes) {
  img.srcset = SIZES.map((size) => `${photoPath(image, size)} ${size}w`).join(", ");
  img.sizes = sizes;
  img.src = photoPath(image, 320);
}

function card(product, similar, judging) {
  const node = $("card").content.cloneNode(true);
  const set = (selector, text) => (node.querySelector(selector).textContent = text);
  const address = { ...Object.fromEntries(new URLSearchParams(location.search)), product: product.product_id };
  ["words", "photo", "order"].forEach((name) => delete address[name]);
  node.querySelector("a").href = "?" + new URLSearchParams(address);
  setPhoto(node.querySelector("img"), similar ? similar.image_id : product.image_ids[0], "(max-width: 560px) 46vw, 230px");
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

export function showCatalogue({ total, corrected, products, categories }, { words, category, offset, onCategory }) {
  $("query").hidden = true;
  showCompared(null);
  document.title = words ? `“${words}” · Similar products` : "Similar products";
  $("heading").textContent = words ? `“${words}”` : "Catalogue";
  $("status").textContent = total ? counted(total, "product") : "No products match. Remove a filter or try other words.";
  if (total && corrected) $("status").textContent += `. Nothing is called “${words}”: showing “${corrected}”.`;
  showChips(categories || {}, category, onCategory);
  const cards = products.map((product) => card(product));
  if (offset) $("results").append(...cards);
  else $("results").replaceChildren(...cards);
  $("more").hidden = offset + products.length >= total;
  $("empty").hidden = total > 0;
}

function showChips(categories, chosen, onCategory) {
  const chips = Object.entries(categories).map(([name, n]) => {
    const chip = element("button", name, "chip");
    chip.type = "button";
    chip.setAttribute("aria-pressed", String(name === chosen));
    chip.append(element("span", n.toLocaleString("en-GB")));
    chip.addEventListener("click", () => onCategory(name === chosen ? "" : name));
    const item = element("li", "");
    item.append(chip);
    return item;
  });
  $("chips").replaceChildren(...chips);
  $("chips").hidden = chips.length < 2 && !chosen;
}

export function showMapHeading(status) {
  ["query", "chips", "empty", "more"].forEach((id) => ($(id).hidden = true));
  showCompared(null);
  document.title = "Map · Similar products";
  $("heading").textContent = "Map of the catalogue";
  $("status").textContent = status;
  $("results").replaceChildren();
  $("map").hidden = false;
}

// Show the products similar to a product or a photo; a divider comes before matches that are not close.
export function showSimilar(ranked, { order, more, judging }) {
  const price = ({ product }) => (product.price == null ? NaN : Number(product.price));
  const compare = ORDERS[order];
  const sorted = compare ? [...ranked].sort((a, b) => compare(price(a), price(b)) || 0) : ranked;
  const noneClose = ranked.length > 0 && ranked.every((similar) => similar.close === false);
  $("heading").textContent = noneClose ? "No close match. Nearest:" : "Similar";
  $("status").textContent = ranked.length ? counted(ranked.length, "product") : "No products pass these filters.";
  const cards = sorted.map((similar) => card(similar.product, similar, judging));
  const firstPoor = compare || noneClose ? -1 : ranked.findIndex((similar) => similar.close === false);
  if (firstPoor > 0) cards.splice(firstPoor, 0, element("li", "Less similar", "divider"));
  $("results").replaceChildren(...cards);
  $("more").hidden = !more;
  $("chips").hidden = true;
  $("empty").hidden = ranked.length > 0;
}

export function showProduct(product) {
  document.title = `${product.name} · Similar products`;
  const photos = product.image_ids.map((image) => {
    const button = element("button", "", "zoomable");
    button.type = "button";
    button.setAttribute("aria-label", "Enlarge the photo");
    const img = element("img", "");
    img.alt = product.name;
    setPhoto(img, image, "(max-width: 560px) 44vw, 260px");
    button.append(img);
    button.addEventListener("click", () => zoom(image, product.name));
    return button;
  });
  const lines = [product.description, product.category, product.location, `id ${product.product_id}`];
  showQuery(photos, product.name, lines.filter(Boolean), money(product));
}

const FATES = {
  stayed: () => "same place",
  moved: ({ places_up: places }) => (places > 0 ? `↑ ${places}` : `↓ ${-places}`),
  new: () => "new",
  gone: () => "gone",
};

// Show the recommendations of another revision next to the current ones; null hides both.
export function showCompared(lists) {
  $("compared").hidden = !lists;
  if (!lists) return;
  const stayed = lists.now.filter(({ fate }) => fate === "stayed" || fate === "moved").length;
  const heading = element("h2", `${stayed} of ${lists.now.length} recommendations are the same as in ${lists.revision}`);
  const both = element("div", "", "lists");
  both.append(comparedList(lists.revision, lists.before), comparedList("now", lists.now));
  $("compared").replaceChildren(heading, both);
}

function comparedList(name, list) {
  const rows = list.map((compared) => {
    const row = element("li", "", compared.fate);
    const link = element("a", compared.product ? compared.product.name : compared.product_id);
    if (compared.product) {
      link.href = "?" + new URLSearchParams({ product: compared.product_id });
      const img = element("img", "");
      img.alt = "";
      img.src = photoPath(compared.product.image_ids[0], 160);
      link.prepend(img);
    }
    row.append(link, element("span", FATES[compared.fate](compared), "fate"));
    return row;
  });
  const column = element("div", "");
  const listed = element("ol", "");
  listed.append(...rows);
  column.append(element("h3", name), listed);
  return column;
}

export function showPhoto(file) {
  document.title = "Your photo · Similar products";
  showCompared(null);
  const mine = element("img", "");
  mine.alt = "your photo";
  mine.src = URL.createObjectURL(file);
  mine.onload = () => URL.revokeObjectURL(mine.src);
  showQuery([mine], "Your photo", [file.name]);
}

export function showLostPhoto(name) {
  document.title = "Your photo · Similar products";
  const again = element("label", "Choose a photo", "button");
  again.htmlFor = "photo";
  showQuery([], "Your photo", [`Reloading dropped your photo ${name}. Choose it again.`]);
  $("query").querySelector(".facts").append(again);
  clear();
}

function showQuery(photos, heading, lines, price = "") {
  const facts = element("div", "", "facts");
  facts.append(element("h2", heading));
  if (price) facts.append(element("p", price, "cost"));
  lines.forEach((line) => facts.append(element("p", line)));
  const frame = element("div", "", "photos");
  frame.append(...photos);
  $("query").replaceChildren(frame, facts);
  $("query").hidden = false;
}

export function showProblem(message) {
  $("problem").textContent = message;
  $("problem").hidden = false;
  $("query").hidden = true;
  clear();
  $("empty").hidden = false;
}

function clear() {
  $("heading").textContent = "Nothing to show";
  $("status").textContent = "";
  $("results").replaceChildren();
  ["more", "chips", "empty", "compared"].forEach((id) => ($(id).hidden = true));
}

function zoom(image, name) {
  const img = $("zoom").querySelector("img");
  img.src = photoPath(image, 1280);
  img.alt = name;
  $("zoom").showModal();
}

export function showWhy(why, queryName, product) {
  const photos = [[why.image_id, queryName], [why.similar_image_id, product.name]].map(([image, name]) => {
    const figure = element("figure", "");
    const img = element("img", "");
    img.alt = name;
    setPhoto(img, image, "(max-width: 560px) 40vw, 260px");
    const frame = element("div", "", "heated");
    frame.append(img);
    figure.append(frame, element("figcaption", name));
    return figure;
  });
  $("why").querySelector(".pair").replaceChildren(...photos);
  const percent = (share) => `${Math.round(100 * share)}%`;
  const names = { kind: "Photos", text: "Words", title: "Titles", path: "Categories" };
  const fact = ({ similarity, weight }) => {
    if (!weight) return "do not count";
    return similarity == null ? "missing" : `${percent(similarity)} similar (${percent(weight)} of the score)`;
  };
  const facts = [
    ...Object.entries(names).map(([part, name]) => [name, fact(why.parts[part])]),
    ["Words in common", why.words.join(", ") || "none"],
    ["Score", why.score.toFixed(2)],
  ];
  $("why").querySelector("dl").replaceChildren(...facts.flatMap(([term, value]) => [element("dt", term), element("dd", value)]));
  $("why").querySelector(".heat").hidden = true;
  $("why").showModal();
}

// Highlight what both photos of "Why this?" share: a grid of shares from 0 to 1 over the square of each.
export function showHeat({ image, similar_image }) {
  $("why").querySelectorAll(".heated").forEach((frame, n) => frame.append(heatCanvas(n ? similar_image : image)));
  $("why").querySelector(".heat").hidden = false;
}

function heatCanvas(rows) {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  canvas.height = rows.length;
  canvas.width = rows[0].length;
  const pixels = rows.flat().flatMap((share) => [255, 70, 0, Math.round(190 * share)]);
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels), canvas.width), 0, 0);
  return canvas;
}
