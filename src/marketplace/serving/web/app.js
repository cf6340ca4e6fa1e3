// The address decides what the page shows: with `?product=ID`, a product and similar ones; with `?photo=NAME`, products
// similar to a photo, which does not fit in an address and is kept here; with `?judge`, products to judge; otherwise the
// catalogue, by words and filters.
import { ask, productPath, tell } from "./api.js";
import * as filters from "./filters.js";
import {
  $,
  showCatalogue,
  showCompared,
  showHeat,
  showLostPhoto,
  showPhoto,
  showProblem,
  showProduct,
  showSimilar,
  showWhy,
} from "./view.js";

const PAGE = 48; // products
const SIMILAR = 24;
const MOST_SIMILAR = 96;
const VIEWS = 30; // that Back restores
const form = $("search");
const photos = new Map(); // history key -> the file that was dropped, chosen or pasted
const views = new Map(); // history key -> what was shown, for Back
let run = 0; // if answers arrive out of order, only the answer to the latest question is shown
let similar = SIMILAR; // the number to request
let lastKey = Date.now();
const newKey = () => String(++lastKey);
let key = newKey(); // of the history entry that is shown
let comparing = false; // with what another revision recommended
let typed = null; // the history entry that typing added: more typing replaces it
history.scrollRestoration = "manual";
history.replaceState({ key, first: true }, "");

const address = () => new URLSearchParams(location.search);
const withoutOrder = () => ({ ...filters.values(), order: "" });

async function catalogue(offset) {
  const words = address().get("words") || "";
  const answer = await ask("api/products", { words, ...filters.values(), offset, limit: PAGE });
  return () => showCatalogue(answer, { words, category: filters.values().category, offset, onCategory: chooseCategory });
}

// The thumbs on a product's recommendations; null if they cannot be read, which is no reason to show nothing.
const thumbsOn = (path) => ask(`${path}/feedback`).catch(() => null);

async function product(id) {
  const path = productPath(id);
  const requests = [ask(path), ask(`${path}/similar`, { k: similar, ...withoutOrder() }), thumbsOn(path)];
  if (comparing) requests.push(ask(`${path}/compared`));
  const [shown, ranked, thumbs, lists] = await Promise.all(requests);
  const pair = (other) => `${path}/similar/${encodeURIComponent(other.product_id)}`;
  const judging = {
    thumbs,
    onWhy: (other) => explain(pair(other), shown.name, other, form.weights.value),
    onThumb: (other, good) => tell(`${pair(other)}/feedback`, { good }),
  };
  return () => {
    showProduct(shown);
    showSimilar(ranked, { order: form.order.value, more: mayHaveMore(ranked), judging });
    showCompared(lists || null);
  };
}

// Photos and words come first: the network takes a moment to find what the photos share.
let explained; // the pair in the dialog
async function explain(pair, name, other, weights) {
  explained = pair;
  try {
    showWhy(await ask(pair, { weights }), name, other);
    const heat = await ask(`${pair}/heat`);
    if (pair === explained) showHeat(heat);
  } catch (error) {
    $("why").close();
    problem(error);
  }
}

async function photo(file) {
  const body = new FormData();
  body.append("photo", file);
  const ranked = await ask("api/similar", { k: similar, ...withoutOrder() }, { method: "POST", body });
  return () => {
    showPhoto(file);
    showSimilar(ranked, { order: form.order.value, more: mayHaveMore(ranked) });
  };
}

const mayHaveMore = (ranked) => ranked.length === similar && similar < MOST_SIMILAR;

function problem(error) {
  ["map", "judge"].forEach((id) => ($(id).hidden = true));
  showProblem(error.message);
  scrollTo({ top: 0 });
}

async function catalogueMap() {
  const [{ showMap }, places] = await Promise.all([import("./map.js"), ask("api/map", withoutOrder())]);
  return () => showMap(places, (id) => open(changed({ view: "", product: id })));
}

async function judging() {
  const { startJudging } = await import("./judge.js");
  return startJudging();
}

async function answer(offset) {
  const query = address();
  if (query.has("judge")) return judging();
  if (query.get("view") === "map") return catalogueMap();
  if (query.get("product")) return product(query.get("product"));
  if (!query.has("photo")) return catalogue(offset);
  return photos.has(key) ? photo(photos.get(key)) : () => showLostPhoto(query.get("photo"));
}

// Show what the address and the filters ask for; `top`: scroll to the top of the page.
async function show({ top = true, offset = 0 } = {}) {
  const mine = ++run;
  form.weights.hidden = !(address().has("product") || address().has("photo")); // a catalogue has no question
  $("results").classList.add("busy");
  try {
    const draw = await answer(offset);
    if (mine !== run) return;
    $("problem").hidden = true;
    ["map", "judge", "hovered"].forEach((id) => ($(id).hidden = true));
    await draw();
    if (top) scrollTo({ top: 0 });
  } catch (error) {
    if (mine === run) problem(error);
  } finally {
    if (mine === run) $("results").classList.remove("busy");
  }
}

// What is on the page, and where it is scrolled to.
const KEPT = ["query", "heading", "status", "problem", "chips", "results", "more", "empty", "compared", "map", "judge"];
const snapshot = () => ({
  title: document.title,
  similar,
  scroll: scrollY,
  parts: KEPT.map((id) => ({ id, hidden: $(id).hidden, nodes: [...$(id).childNodes] })),
});

function remember() {
  views.delete(key);
  views.set(key, snapshot());
  if (views.size > VIEWS) views.delete(views.keys().next().value); // the oldest
}

function restore(view) {
  ++run; // an answer that is still to come is for another question
  document.title = view.title;
  similar = view.similar;
  view.parts.forEach(({ id, hidden, nodes }) => {
    $(id).hidden = hidden;
    $(id).replaceChildren(...nodes);
  });
  $("results").classList.remove("busy");
  scrollTo({ top: view.scroll });
}

function enter(next, { file, replace = false } = {}) {
  const filled = [...next].filter(([, value]) => value);
  if (!replace) {
    remember();
    key = newKey();
  }
  if (file) photos.set(key, file);
  similar = SIMILAR;
  const query = String(new URLSearchParams(filled));
  const state = { key, first: replace && history.state?.first };
  const url = query ? `?${query}` : location.pathname;
  if (replace) history.replaceState(state, "", url);
  else history.pushState(state, "", url);
}

const changed = (changes) => new Map(Object.entries({ ...Object.fromEntries(address()), ...changes }));

function fillForm() {
  const query = address();
  form.words.value = query.get("words") || "";
  filters.fill(query);
}

function chooseCategory(name) {
  enter(changed({ category: name }));
  fillForm();
  show();
}

function showEverything() {
  enter(new Map());
  fillForm();
  show();
}

function open(next) {
  enter(next);
  fillForm();
  return show().then(() => $("results").focus({ preventScroll: true }));
}

function usePhoto(file) {
  if (!file) return;
  enter(changed({ photo: file.name || "pasted", product: "", words: "", view: "" }), { file });
  form.words.value = "";
  show();
}

function toggleFilters(open) {
  $("filters").classList.toggle("open", open);
  $("open-filters").setAttribute("aria-expanded", String(open));
  const focused = open ? $("filters").querySelector("[name]") : $("open-filters");
  focused.focus();
}

let typing;
form.addEventListener("input", (event) => {
  if (event.target.id === "photo") return;
  clearTimeout(typing);
  const byKey = event.target.matches("input");
  typing = setTimeout(() => {
    const leaving = event.target.name === "words" ? { product: "", photo: "", view: "" } : {};
    const file = event.target.name === "words" ? undefined : photos.get(key);
    enter(changed({ words: form.words.value, ...filters.values(), ...leaving }), { file, replace: byKey && typed === key });
    typed = byKey ? key : null;
    show({ top: false });
  }, 250);
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => {
  const file = photos.get(key);
  enter(changed({ words: "", ...filters.empty() }), { file });
  setTimeout(show);
});
$("photo").addEventListener("change", (event) => {
  usePhoto(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
$("more").addEventListener("click", () => {
  const listed = address().has("product") || address().has("photo");
  if (listed) similar = Math.min(MOST_SIMILAR, 2 * similar);
  show({ top: false, offset: listed ? 0 : $("results").children.length });
});
$("everything").addEventListener("click", showEverything);
$("open-filters").addEventListener("click", () => toggleFilters(!$("filters").classList.contains("open")));
$("close-filters").addEventListener("click", () => toggleFilters(false));
$("zoom").addEventListener("click", () => $("zoom").close());
addEventListener("popstate", () => {
  remember();
  key = history.state?.key || key;
  fillForm();
  if (views.has(key)) restore(views.get(key));
  else show();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='?']:not([href='?judge']), a.home");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  open(new URL(link.href).searchParams);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches("input, select")) {
    event.preventDefault();
    form.words.focus();
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if ($("filters").classList.contains("open")) toggleFilters(false);
    else if (!["product", "photo", "view", "judge"].some((name) => address().has(name))) return;
    else if (history.state?.first) showEverything();
    else history.back();
  }
});

let depth = 0; // dragenter and dragleave come for every element on the way
addEventListener("dragenter", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  depth += 1;
  $("drop").hidden = false;
});
addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1); // dragged text leaves as well
  $("drop").hidden = depth === 0;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  $("drop").hidden = true;
  usePhoto(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => usePhoto([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));

ask("api/catalogue")
  .then((options) => {
    comparing = Boolean(options.compared);
    filters.addInputs(options.filters);
    fillForm();
  })
  .catch(() => {}) // `show` reports it
  .then(() => show({ top: false }));
