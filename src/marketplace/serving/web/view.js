// What is shown. Product texts are always set as text, never as HTML.
import { photoPath } from "./api.js";

export const $ = (id) => document.getElementById(id);
const SIZES = [160, 320, 640, 1280];
const ORDERS = { cheapest: (one, other) => one - other, dearest: (one, other) => other - one };
const space = (currency) => (/\p{L}$/u.test(currency) ? " " : "");
const money = ({ price, currency }) =>
  price == null ? "no price" : currency + space(currency) + price.replace(/\B(?=(\d{3})+(?!\d))(?<!\..*)/g, ",");

export function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

export const counted = (n, what) => `${n.toLocaleString("en-GB")} ${what}${n === 1 ? "" : "s"}`;

function setPhoto(img, image, sizes) {
  img.srcset = SIZES.map((size) => `${photoPath(image, size)} ${size}w`).join(", ");
  img.sizes = sizes;
  img.src = photoPath(image, 320);
}

function card(product, similar, judging) {
  const made = $("card").content.cloneNode(true);
  const set = (selector, text) => (made.querySelector(selector).textContent = text);
  const address = { ...Object.fromEntries(new URLSearchParams(location.search)), product: product.product_id };
  ["words", "photo", "order"].forEach((name) => delete address[name]);
  made.querySelector("a").href = "?" + new URLSearchParams(address);
  setPhoto(made.querySelector("img"), similar ? similar.image_id : product.image_ids[0], "(max-width: 560px) 46vw, 230px");
  set(".name", product.name);
  set(".price", money(product));
  set(".place", product.location);
  if (!similar) return made;
  const likeness = similar.same_photo ? "same photo" : similar.same_text ? "same title" : similar.score.toFixed(2);
  set(".score", similar.close && !similar.same_photo && !similar.same_text ? `close, ${likeness}` : likeness);
  made.querySelector(".score").title = "How similar, by photos and words: 1 is the same";
  if (judging) addTools(made, product, judging);
  return made;
}

// What can be asked and said of a recommendation: why it is one, and whether it is a good one.
function addTools(made, product, { onWhy, thumbs, onThumb }) {
  made.querySelector(".tools").hidden = false;
  const why = made.querySelector(".why");
  why.setAttribute("aria-label", `Why this? ${product.name}`);
  why.addEventListener("click", () => onWhy(product));
  const buttons = [...made.querySelectorAll(".thumb")];
  const draw = () =>
    buttons.forEach((button) => {
      button.setAttribute("aria-pressed", String(String(thumbs[product.product_id]) === button.value));
      button.setAttribute("aria-label", `${button.title}: ${product.name}`);
    });
  buttons.forEach((button) =>
    button.addEventListener("click", async () => {
      const good = button.getAttribute("aria-pressed") === "true" ? null : button.value === "true";
      await onThumb(product, good);
      thumbs[product.product_id] = good;
      draw();
    }),
  );
  draw();
}

export function showCatalogue({ total, products, categories }, { words, category, offset, onCategory }) {
  $("asked").hidden = true;
  showCompared(null);
  document.title = words ? `“${words}” · Similar products` : "Similar products";
  $("heading").textContent = words ? `“${words}”` : "Catalogue";
  $("status").textContent = total ? counted(total, "product") : "Nothing here. Try fewer words or filters.";
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
  ["asked", "chips", "empty", "more"].forEach((id) => ($(id).hidden = true));
  showCompared(null);
  document.title = "Map · Similar products";
  $("heading").textContent = "Map of the catalogue";
  $("status").textContent = status;
  $("results").replaceChildren();
  $("map").hidden = false;
}

// What was found for a product or a photo; matches that are not close come after a line that says so.
export function showSimilar(found, { order, more, judging }) {
  const price = ({ product }) => (product.price == null ? NaN : Number(product.price));
  const compare = ORDERS[order];
  const sorted = compare ? [...found].sort((one, other) => compare(price(one), price(other)) || 0) : found;
  const noneClose = found.length > 0 && found.every((similar) => similar.close === false);
  $("heading").textContent = noneClose ? "Nothing close; the nearest are" : "Similar";
  $("status").textContent = found.length ? counted(found.length, "product") : "Nothing passes these filters.";
  const cards = sorted.map((similar) => card(similar.product, similar, judging));
  const firstPoor = compare || noneClose ? -1 : found.findIndex((similar) => similar.close === false);
  if (firstPoor > 0) cards.splice(firstPoor, 0, element("li", "Less similar", "divider"));
  $("results").replaceChildren(...cards);
  $("more").hidden = !more;
  $("chips").hidden = true;
  $("empty").hidden = found.length > 0;
}

export function showProductAsked(product) {
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
  showAsked(photos, product.name, lines.filter(Boolean), money(product));
}

const FATES = {
  stayed: () => "same place",
  moved: ({ by }) => (by > 0 ? `↑ ${by}` : `↓ ${-by}`),
  new: () => "new",
  gone: () => "gone",
};

// What another revision recommended beside what is recommended now; null hides it.
export function showCompared(lists) {
  $("compared").hidden = !lists;
  if (!lists) return;
  const stayed = lists.now.filter((one) => one.fate === "stayed" || one.fate === "moved").length;
  const heading = element("h2", `${stayed} of ${lists.now.length} recommendations are those of ${lists.revision}`);
  const both = element("div", "", "lists");
  both.append(comparedList(lists.revision, lists.before), comparedList("now", lists.now));
  $("compared").replaceChildren(heading, both);
}

function comparedList(name, list) {
  const rows = list.map((one) => {
    const row = element("li", "", one.fate);
    const link = element("a", one.product ? one.product.name : one.product_id);
    if (one.product) {
      link.href = "?" + new URLSearchParams({ product: one.product_id });
      const img = element("img", "");
      img.alt = "";
      img.src = photoPath(one.product.image_ids[0], 160);
      link.prepend(img);
    }
    row.append(link, element("span", FATES[one.fate](one), "fate"));
    return row;
  });
  const column = element("div", "");
  const listed = element("ol", "");
  listed.append(...rows);
  column.append(element("h3", name), listed);
  return column;
}

export function showPhotoAsked(file) {
  document.title = "Your photo · Similar products";
  showCompared(null);
  const mine = element("img", "");
  mine.alt = "your photo";
  mine.src = URL.createObjectURL(file);
  mine.onload = () => URL.revokeObjectURL(mine.src);
  showAsked([mine], "Your photo", [file.name]);
}

export function showLostPhoto(name) {
  document.title = "Your photo · Similar products";
  const again = element("label", "Choose the photo again", "button");
  again.htmlFor = "photo";
  showAsked([], "Your photo", [`This page was about ${name}, which a browser forgets when a page is reloaded.`]);
  $("asked").querySelector(".facts").append(again);
  clear();
}

function showAsked(photos, heading, lines, price = "") {
  const facts = element("div", "", "facts");
  facts.append(element("h2", heading));
  if (price) facts.append(element("p", price, "cost"));
  lines.forEach((line) => facts.append(element("p", line)));
  const frame = element("div", "", "photos");
  frame.append(...photos);
  $("asked").replaceChildren(frame, facts);
  $("asked").hidden = false;
}

export function showProblem(message) {
  $("problem").textContent = message;
  $("problem").hidden = false;
  $("asked").hidden = true;
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

export function showWhy(why, asked, product) {
  const photos = [[why.image_id, asked], [why.similar_image_id, product.name]].map(([image, name]) => {
    const figure = element("figure", "");
    const img = element("img", "");
    img.alt = name;
    setPhoto(img, image, "(max-width: 560px) 40vw, 260px");
    const frame = element("div", "", "warmed");
    frame.append(img);
    figure.append(frame, element("figcaption", name));
    return figure;
  });
  $("why").querySelector(".pair").replaceChildren(...photos);
  const percent = (share) => `${Math.round(100 * share)}%`;
  const facts = [
    ["Photos", `${why.photo_similarity.toFixed(2)} alike, and count for ${percent(1 - why.words_weight)}`],
    ["Words", why.text_similarity == null ? "do not count" : `${why.text_similarity.toFixed(2)} alike, and count for ${percent(why.words_weight)}`],
    ["Words in common", why.words.join(", ") || "none"],
    ["Together", why.score.toFixed(2)],
  ];
  $("why").querySelector("dl").replaceChildren(...facts.flatMap(([term, value]) => [element("dt", term), element("dd", value)]));
  $("why").querySelector(".heat").hidden = true;
  $("why").showModal();
}

// Both photos of "Why this?" warm where they are alike: a grid of shares from 0 to 1 over each one's square.
export function showHeat({ image, similar_image }) {
  $("why").querySelectorAll(".warmed").forEach((frame, n) => frame.append(heatCanvas(n ? similar_image : image)));
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
