// The product or photo that the page shows similar products for.
import { $, element } from "./dom.js";

// Show its photos in a row, its name, and elements that say more.
export function showQuery(photos, name, { above = [], below = [] } = {}) {
  const row = element("div", "", "photos");
  row.append(...photos);
  const heading = element("h2", name);
  heading.dir = "auto";
  const facts = element("div", "", "facts");
  facts.append(...above, heading, ...below);
  $("query").replaceChildren(row, facts);
  $("query").hidden = false;
}
