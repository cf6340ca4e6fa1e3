// The recommendations of another revision, next to the current ones.
import { photoPath } from "./api.js";
import { $, element } from "./dom.js";
import { productAddress } from "./history.js";

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
      link.href = "?" + productAddress(compared.product_id);
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
