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

// Show the products similar to a product or a photo; a divider comes before matches that are not close.
export function showSimilar(ranked, { order, more, judging, set, offer, onFilter }) {
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
  showChips({ set, offer, onFilter });
  $("empty").hidden = ranked.length > 0;
}

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
