// The page shows what the address bar says. `?product=ID` shows a product and what is similar to it; a photo, which does
// not fit in an address, is kept here. Product texts are always set as text, never as HTML.

const PAGE = 48;
const SIMILAR = 24;
const $ = (id) => document.getElementById(id);
const form = $("search");
const FILTERS = [...form.querySelectorAll(".filters [name]")].map((input) => input.name);
let photo = null; // the file that was dropped, chosen or pasted last
let run = 0; // if answers arrive out of order, only the one to the latest question is shown

async function ask(path, query = {}, options = {}) {
  const filled = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const response = await fetch(`${path}?${new URLSearchParams(filled)}`, options).catch(() => {
    throw new Error("The server does not answer. Is it still running?");
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Error(answer.detail || `The server answered ${response.status}.`);
}

const address = () => new URLSearchParams(location.search);
const written = (name) => (name.endsWith("price") ? form[name].value.replace(/[\p{Sc},\s]/gu, "") : form[name].value);
const filters = () => Object.fromEntries(FILTERS.map((name) => [name, written(name)]));
const space = (currency) => (/\p{L}$/u.test(currency) ? " " : "");
const money = ({ price, currency }) =>
  price == null ? "no price" : currency + space(currency) + price.replace(/\B(?=(\d{3})+(?!\d))(?<!\..*)/g, ",");

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function photoElement(source, description) {
  const made = element("img", "");
  made.src = source;
  made.alt = description;
  return made;
}

function card(product, similar) {
  const made = $("card").content.cloneNode(true);
  const set = (selector, text) => (made.querySelector(selector).textContent = text);
  made.querySelector("a").href = "?" + new URLSearchParams({ ...Object.fromEntries(address()), words: "", product: product.product_id });
  made.querySelector("img").src = `/api/photos/${encodeURIComponent(product.image_ids[0])}`;
  set(".name", product.name);
  set(".price", money(product));
  set(".place", product.location);
  if (similar) {
    set(".score", similar.same_photo ? "same photo" : similar.same_text ? "same title" : similar.score.toFixed(2));
    made.querySelector(".score").title = "How similar, by photos and words: 1 is the same";
  }
  return made;
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

function count(n, what) {
  return `${n.toLocaleString("en-GB")} ${what}${n === 1 ? "" : "s"}`;
}

async function showCatalogue(offset = 0) {
  const words = address().get("words") || "";
  const { total, products } = await ask("/api/products", { words, ...filters(), offset, limit: PAGE });
  return () => {
    $("asked").hidden = true;
    document.title = "Similar products";
    $("heading").textContent = words ? `“${words}”` : "Catalogue";
    $("status").textContent = total ? count(total, "product") : "Nothing here. Try fewer words or filters.";
    const cards = products.map((product) => card(product));
    if (offset) $("results").append(...cards);
    else $("results").replaceChildren(...cards);
    $("more").hidden = offset + products.length >= total;
  };
}

function showSimilar(found) {
  $("heading").textContent = "Similar";
  $("status").textContent = found.length ? count(found.length, "product") : "Nothing passes these filters.";
  $("results").replaceChildren(...found.map((similar) => card(similar.product, similar)));
  $("more").hidden = true;
}

async function showProduct(id) {
  const path = `/api/products/${encodeURIComponent(id)}`;
  const [product, found] = await Promise.all([ask(path), ask(`${path}/similar`, { k: SIMILAR, ...filters() })]);
  return () => {
    document.title = `${product.name} · Similar products`;
    const photos = product.image_ids.map((image) => photoElement(`/api/photos/${encodeURIComponent(image)}?large=true`, product.name));
    showAsked(photos, product.name, [product.category, product.location, `id ${product.product_id}`], money(product));
    showSimilar(found);
  };
}

async function showPhoto(file) {
  const body = new FormData();
  body.append("photo", file);
  const found = await ask("/api/similar", { k: SIMILAR, ...filters() }, { method: "POST", body });
  return () => {
    document.title = "Your photo · Similar products";
    const mine = photoElement(URL.createObjectURL(file), "your photo");
    mine.onload = () => URL.revokeObjectURL(mine.src);
    showAsked([mine], "Your photo", [file.name]);
    showSimilar(found);
  };
}

// Show what the address bar and the filters say; `top`: and go to the top of the page.
async function show({ top = true, offset = 0 } = {}) {
  const mine = ++run;
  const asked = address();
  $("results").classList.add("busy");
  try {
    const product = asked.get("product");
    const draw = await (product ? showProduct(product) : asked.has("photo") && photo ? showPhoto(photo) : showCatalogue(offset));
    if (mine !== run) return;
    $("problem").hidden = true;
    draw();
    if (top) scrollTo({ top: 0 });
  } catch (error) {
    if (mine !== run) return;
    $("problem").textContent = error.message;
    $("problem").hidden = false;
    scrollTo({ top: 0 });
  } finally {
    if (mine === run) $("results").classList.remove("busy");
  }
}

function go(changes) {
  const next = new URLSearchParams([...Object.entries({ ...Object.fromEntries(address()), ...changes })].filter(([, value]) => value));
  history.pushState(null, "", `?${next}`);
}

function fillForm() {
  const asked = address();
  ["words", ...FILTERS].forEach((name) => (form[name].value = asked.get(name) || ""));
}

function usePhoto(file) {
  if (!file) return;
  photo = file;
  go({ photo: file.name || "pasted", product: "", words: "" });
  form.words.value = "";
  show();
}

let typing;
form.addEventListener("input", (event) => {
  if (event.target.id === "photo") return;
  clearTimeout(typing);
  typing = setTimeout(() => {
    const leaving = event.target.name === "words" ? { product: "", photo: "" } : {};
    go({ words: form.words.value, ...filters(), ...leaving });
    show({ top: false });
  }, 250);
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => {
  go(Object.fromEntries(["words", ...FILTERS].map((name) => [name, ""])));
  setTimeout(show);
});
$("photo").addEventListener("change", (event) => {
  usePhoto(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
$("more").addEventListener("click", () => show({ top: false, offset: $("results").children.length }));
addEventListener("popstate", () => (fillForm(), show()));
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='?'], a.home");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  fillForm();
  show().then(() => $("results").focus({ preventScroll: true }));
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches("input, select")) {
    event.preventDefault();
    form.words.focus();
  } else if (event.key === "Escape" && (address().has("product") || address().has("photo"))) {
    go({ product: "", photo: "" });
    show();
  }
});

let depth = 0; // dragenter and dragleave come for every element on the way
addEventListener("dragenter", (event) => ($("drop").hidden = !(event.dataTransfer.types.includes("Files") && ++depth)));
addEventListener("dragleave", () => ($("drop").hidden = --depth <= 0));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  $("drop").hidden = true;
  usePhoto(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => usePhoto([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));

ask("/api/catalogue")
  .then(({ categories, locations }) => {
    categories.forEach((name) => form.category.append(new Option(name, name)));
    locations.forEach((name) => form.location.append(new Option(name, name)));
    fillForm();
  })
  .catch(() => {}) // `show` says so
  .then(() => show({ top: false }));
