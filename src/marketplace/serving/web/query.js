// The product or photo that the page shows similar products for.
import { $, element } from "./dom.js";

// Show its photos, its name, its price and lines about it.
export function showQuery(photos, heading, lines, price = "") {
  const facts = element("div", "", "facts");
  facts.append(element("h2", heading));
  if (price) facts.append(element("p", price, "cost"));
  lines.forEach((line) => facts.append(element("p", line)));
  const frame = element("div", "", "photos");
  frame.append(...photos);
  $("query").replaceChildren(frame, facts);
  $("query").hidden = false;
}
