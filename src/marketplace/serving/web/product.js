// A product: its photos, and what its listing says.
import { buildButton, element } from "./dom.js";
import { canChoose } from "./filters.js";
import { buildGallery } from "./gallery.js";
import { showQuery } from "./query.js";
import { money } from "./texts.js";

// Show a product; `comparing` is a revision whose list for it may be compared.
export function showProduct(product, comparing) {
  document.title = `${product.name} · Similar products`;
  const cost = element("p", money(product), "cost");
  if (product.location) cost.append(element("bdi", product.location));
  const more = element("div", "", "more");
  more.append(...buildDescription(product.description), buildLinks(product, comparing), buildDetails(product));
  const above = product.category ? [buildBreadcrumb(product.category)] : [];
  showQuery(buildGallery(product.image_ids, product.name), product.name, { above, below: [cost, more] });
}

function buildLinks(product, comparing) {
  const list = element("div", "", "links");
  list.append(buildViewLink("Show on the map", "map", product));
  if (comparing) list.append(buildViewLink("Compare both lists", "compared", product));
  return list;
}

function buildViewLink(text, view, product) {
  const link = element("a", text);
  link.href = "?" + new URLSearchParams({ view, product: product.product_id });
  return link;
}

// The path of the category. Each level opens the catalogue there: the root by the filter, the others by their name too.
function buildBreadcrumb(path) {
  const [root] = path.split(" / ");
  const levels = element("ol", "");
  levels.append(
    ...path.split(" / ").map((name, depth) => {
      const level = element("li", "");
      const isLink = canChoose("category", root);
      const step = element(isLink ? "a" : "bdi", name);
      step.dir = "auto";
      const words = depth ? { words: name } : {};
      if (isLink) step.href = "?" + new URLSearchParams({ category: root, ...words });
      level.append(step);
      return level;
    }),
  );
  const nav = element("nav", "", "breadcrumb");
  nav.setAttribute("aria-label", "Breadcrumb");
  nav.append(levels);
  return nav;
}

// Two lines, and a button for the rest if there is more.
function buildDescription(text) {
  if (!text) return [];
  const paragraph = element("p", text, "description");
  paragraph.dir = "auto";
  const button = buildButton("Read more", toggle, "plain");
  button.setAttribute("aria-expanded", "false");
  function toggle() {
    const open = paragraph.classList.toggle("open");
    button.textContent = open ? "Read less" : "Read more";
    button.setAttribute("aria-expanded", String(open));
  }
  const isCut = () => paragraph.classList.contains("open") || paragraph.scrollHeight > paragraph.clientHeight;
  new ResizeObserver(() => (button.hidden = !isCut())).observe(paragraph);
  return [paragraph, button];
}

function buildDetails(product) {
  const facts = element("dl", "");
  facts.append(element("dt", "Id"), element("dd", product.product_id));
  const rest = element("details", "");
  rest.append(element("summary", "Details"), facts);
  return rest;
}
