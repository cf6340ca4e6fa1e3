// A product's lists in two revisions side by side, and the verdict on them. Until it is given, nothing tells which list
// is which: the sides are random, and products that only one of them has are marked alike in both.
import { productPath, tell } from "../api.js";
import { $, buildButton, element, setPhoto } from "../dom.js";
import { hideParts } from "../results.js";
import { money } from "../texts.js";

const CURRENT = "Current";
const FATES = {
  stayed: () => "",
  moved: ({ places_up: places }) => (places > 0 ? `↑ ${places}` : `↓ ${-places}`),
  new: () => "new",
  gone: () => "gone",
};
const BLIND = { ...FATES, moved: () => "", new: () => "only here", gone: () => "only here" };
const BUTTONS = [
  { key: "ArrowLeft", sign: "←", text: "Left is better", side: 0 },
  { key: "=", sign: "=", text: "Equal" },
  { key: "ArrowRight", sign: "→", text: "Right is better", side: 1 },
];

// Show the lists of a product; `onNext` is called after a verdict and to skip the product.
export function showLists(product, lists, onNext) {
  hideParts();
  $("results").replaceChildren();
  document.title = `${product.name} · Both lists`;
  const same = [...lists.before, ...lists.now].every(({ fate }) => fate === "stayed");
  const both = lists.now.filter(({ fate }) => fate === "stayed" || fate === "moved").length;
  $("heading").textContent = same ? "The list did not change" : "Which list is better?";
  const shared = `${both} of ${lists.now.length} products are in both lists.`;
  $("status").textContent = same ? "" : lists.better ? shared : `${shared} Their revisions show after your verdict.`;
  const sides = arrangeSides(lists);
  const head = element("div", "", "pair-head");
  head.append(buildProductLine(product));
  if (!same) head.append(buildVerdictButtons(product, lists, sides, onNext));
  const columns = element("div", "", "lists");
  columns.append(...sides.map((side, place) => buildColumn(side, lists.better, same, place)));
  $("compared").replaceChildren(head, columns);
  $("compared").hidden = false;
}

function arrangeSides({ revision, before, now, now_first: nowFirst }) {
  const sides = [
    { better: "now", name: CURRENT, list: now },
    { better: "before", name: revision, list: before },
  ];
  return nowFirst ? sides : sides.reverse();
}

function buildProductLine(product) {
  const link = element("a", "", "pair-product");
  link.href = "?" + new URLSearchParams({ product: product.product_id });
  const img = element("img", "");
  img.alt = "";
  setPhoto(img, product.image_ids[0], "80px");
  const name = element("span", product.name, "name");
  name.dir = "auto";
  const facts = element("span", "", "facts");
  facts.append(name, element("span", money(product), "price"), element("span", product.category, "place"));
  link.append(img, facts);
  return link;
}

function buildVerdictButtons(product, lists, sides, onNext) {
  const bar = element("div", "", "verdicts");
  const buttons = BUTTONS.map(({ sign, text, side }) => {
    const better = side == null ? "equal" : sides[side].better;
    const button = buildKeyButton(sign, text, () => judge(product, better, onNext));
    button.setAttribute("aria-pressed", String(lists.better === better));
    return button;
  });
  bar.append(...buttons, buildKeyButton("S", "Skip", () => onNext()));
  bar.lastChild.classList.add("plain");
  return bar;
}

function buildKeyButton(sign, text, act) {
  const button = buildButton("", act);
  button.append(element("kbd", sign), ` ${text}`);
  return button;
}

let busy = false; // with storing a verdict: a key in the meantime would judge lists that nobody has seen
async function judge(product, better, onNext) {
  if (busy) return;
  busy = true;
  try {
    await tell(`${productPath(product.product_id)}/compared/better`, { better });
    await onNext();
  } catch (error) {
    $("problem").textContent = error.message; // the lists stay, to be judged again
    $("problem").hidden = false;
  } finally {
    busy = false;
  }
}

function buildColumn({ name, list }, better, same, place) {
  const part = element("section", "");
  const known = better || same;
  const places = element("ol", "");
  places.append(...list.map((listing) => buildRow(listing, known ? FATES : BLIND)));
  part.append(element("h2", known ? name : ["Left", "Right"][place]), places);
  return part;
}

function buildRow({ product_id: id, product, fate, places_up }, words) {
  const item = element("li", "", words === FATES ? fate : "");
  const link = element("a", "");
  const name = element("span", product ? product.name : id, "name");
  name.dir = "auto";
  if (product) {
    link.href = "?" + new URLSearchParams({ product: id });
    const img = element("img", "");
    img.alt = "";
    setPhoto(img, product.image_ids[0], "(max-width: 560px) 30vw, 110px");
    link.append(img, name, element("span", money(product), "price"));
  } else link.append(element("span", "no longer for sale", "lost"), name);
  const word = words[fate]({ places_up });
  item.append(link);
  if (word) item.append(element("span", word, "fate"));
  return item;
}

document.addEventListener("keydown", (event) => {
  if ($("compared").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (event.target.matches("input, select")) return;
  const buttons = [...$("compared").querySelectorAll(".verdicts button")];
  const place = [...BUTTONS.map(({ key }) => key), "s"].indexOf(event.key);
  if (place < 0 || !buttons.length) return;
  event.preventDefault();
  buttons[place].click();
});
