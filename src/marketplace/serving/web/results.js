// The list of products, and the line above it that says what is listed.
import { card } from "./card.js";
import { showChips } from "./chips.js";
import { $, element } from "./dom.js";
import { counted } from "./texts.js";

const ORDERS = { cheapest: (a, b) => a - b, dearest: (a, b) => b - a };

export function showCatalogue({ total, corrected, products, categories }, { words, offset, set, onFilter }) {
  $("query").hidden = true;
  document.title = words ? `“${words}” · Similar products` : "Similar products";
  $("heading").textContent = words ? `“${words}”` : "Catalogue";
  $("status").textContent = total ? counted(total, "product") : "No products match. Remove a filter or try other words.";
  if (total && corrected) $("status").textContent += `. Nothing is called “${words}”: showing “${corrected}”.`;
  showChips({ set, categories, onFilter });
  const cards = products.map((product) => card(product));
  if (offset) $("results").append(...cards);
  else $("results").replaceChildren(...cards);
  $("more").hidden = offset + products.length >= total;
  $("empty").hidden = total > 0;
}

// Show the answer to a question: the listings of the same item, then similar products. A divider comes before those that
// are not close.
export function showSimilar({ same, similar, corrected }, { order, more, judging, set, offer, onFilter }) {
  const price = ({ product }) => (product.price == null ? NaN : Number(product.price));
  const compare = ORDERS[order];
  const sorted = compare ? [...similar].sort((a, b) => compare(price(a), price(b)) || 0) : similar;
  const noneClose = similar.length > 0 && similar.every((one) => one.close === false);
  const heading = noneClose ? "No close match. Nearest:" : "Similar";
  const cards = sorted.map((one) => card(one.product, one, judging));
  const firstPoor = similar.findLastIndex((one) => one.close !== false) + 1; // a diverse list may not fall
  const isDivided = !compare && firstPoor > 0 && firstPoor < similar.length;
  if (isDivided) cards.splice(firstPoor, 0, element("li", "Less similar", "divider"));
  if (same.length) cards.unshift(...same.map((one) => card(one.product, one)), element("li", heading, "divider title"));
  $("heading").textContent = same.length ? nameSame(same) : heading;
  $("status").textContent = similar.length ? counted(similar.length, "product") : "No products match.";
  if (same.length) $("status").textContent = `${counted(same.length, "listing")}, and similar products`;
  if (corrected) $("status").textContent += `. No listing has these words: showing “${corrected}”.`;
  $("results").replaceChildren(...cards);
  $("more").hidden = !more;
  showChips({ set, offer, onFilter });
  $("empty").hidden = similar.length > 0;
}

const nameSame = (same) => (same[0].same_photo ? "This photo is in a listing" : "The same item");

// Hide the parts of a catalogue, a product or a photo.
export function hideParts() {
  ["query", "chips", "empty", "more"].forEach((id) => ($(id).hidden = true));
}

export function showMapHeading(status) {
  hideParts();
  document.title = "Map · Similar products";
  $("heading").textContent = "Map of the catalogue";
  $("status").textContent = status;
  $("results").replaceChildren();
  $("map").hidden = false;
}

export function showProblem(message) {
  $("problem").textContent = message;
  $("problem").hidden = false;
  $("query").hidden = true;
  clear();
  $("empty").hidden = false;
}

export function clear() {
  $("heading").textContent = "Nothing to show";
  $("status").textContent = "";
  $("results").replaceChildren();
  ["more", "chips", "empty"].forEach((id) => ($(id).hidden = true));
}
