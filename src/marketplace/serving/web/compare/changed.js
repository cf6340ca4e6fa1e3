// The products whose lists changed most between two revisions.
import { card } from "../card.js";
import { $ } from "../dom.js";
import { hideParts } from "../results.js";
import { counted } from "../texts.js";

export function showChanged({ total, products }, offset) {
  hideParts();
  document.title = "Changed lists · Similar products";
  $("heading").textContent = "Lists that changed most";
  $("status").textContent = total ? counted(total, "product") : "No list changed.";
  const cards = products.map(buildCard);
  if (offset) $("results").append(...cards);
  else $("results").replaceChildren(...cards);
  $("more").hidden = offset + products.length >= total;
}

function buildCard({ product, change, new: arrivals, gone, better }) {
  const node = card(product);
  node.querySelector("a").href = "?" + new URLSearchParams({ view: "compared", product: product.product_id });
  const score = node.querySelector(".score");
  score.textContent = `${Math.round(100 * change)}% changed`;
  score.title = "1 - rank-biased overlap of the two lists: changes at the top count most";
  node.querySelector(".place").textContent = `${arrivals} new, ${gone} gone${better ? ", judged" : ""}`;
  return node;
}
