// The entries of the browser's history: what each one asks, and what it showed, which Back restores at once.
import { $ } from "./dom.js";
import * as filters from "./filters.js";

const SIMILAR = 24;
const VIEWS = 30; // that Back restores
const REFINEMENTS = ["but", "balance", "more", "less", "turn", "crop"]; // of one question
const KEPT = ["query", "heading", "status", "problem", "chips", "results", "more", "empty", "compared", "map", "judge"];
const photos = new Map(); // history key -> the file that was dropped, chosen or pasted
const views = new Map(); // history key -> what was shown
let lastKey = Date.now();
const newKey = () => String(++lastKey);

// The entry that is shown: its key, the number of similar products to request, and whether its answer is still to come.
export const entry = { key: newKey(), similar: SIMILAR, loading: true };
history.scrollRestoration = "manual";
history.replaceState({ ...history.state, key: entry.key, first: true }, "");

export const address = () => new URLSearchParams(location.search);
export const changed = (changes) => new Map(Object.entries({ ...Object.fromEntries(address()), ...changes }));
export const photoOfEntry = () => photos.get(entry.key);
export const readOffer = () => filters.describe(history.state?.offer || {});

export const unrefined = () => Object.fromEntries(REFINEMENTS.map((name) => [name, ""]));

// Whether an address asks for what is similar to a product or a photo; the map shows where a product is.
export const isSimilar = (query) => !query.get("view") && Boolean(query.get("product") || query.get("photo"));

// The address of a product. Filters of a list of similar products stay; those of the catalogue are offered there.
export function productAddress(id) {
  const query = isSimilar(address()) ? address() : new URLSearchParams();
  ["words", "photo", "order", ...REFINEMENTS].forEach((name) => query.delete(name));
  query.set("product", id);
  return query;
}

// The filters that a list of similar products offers, if the next address asks for one.
function offerFor(next) {
  if (!isSimilar(next)) return undefined;
  if (isSimilar(address())) return history.state?.offer;
  return Object.fromEntries(filters.current().map(({ name, value }) => [name, value]));
}

const queryOf = (next) => String(new URLSearchParams([...next].filter(([, value]) => value)));
export const isHere = (next) => queryOf(next) === queryOf(address());

// Go to the address with these parameters; `file`: the photo it asks about; `replace`: instead of the current entry.
export function enter(next, { file, replace = false } = {}) {
  const state = { first: replace && history.state?.first, offer: offerFor(next) };
  if (!replace) {
    remember();
    entry.key = newKey();
  }
  if (file) photos.set(entry.key, file);
  entry.similar = SIMILAR;
  const query = queryOf(next);
  state.key = entry.key;
  const url = query ? `?${query}` : location.pathname;
  if (replace) history.replaceState(state, "", url);
  else history.pushState(state, "", url);
}

// What is on the page, and where it is scrolled to.
const snapshot = () => ({
  title: document.title,
  similar: entry.similar,
  scroll: scrollY,
  parts: KEPT.map((id) => ({ id, hidden: $(id).hidden, nodes: [...$(id).childNodes] })),
});

function remember() {
  views.delete(entry.key);
  if (entry.loading) return; // the page still shows the entry before
  views.set(entry.key, snapshot());
  if (views.size > VIEWS) views.delete(views.keys().next().value); // the oldest
}

// Follow the browser to another entry; return what it showed, if that is still known.
export function follow() {
  remember();
  entry.key = history.state?.key || entry.key;
  return views.get(entry.key);
}

export function restore(view) {
  document.title = view.title;
  entry.similar = view.similar;
  entry.loading = false;
  view.parts.forEach(({ id, hidden, nodes }) => {
    $(id).hidden = hidden;
    $(id).replaceChildren(...nodes);
  });
  $("loading").hidden = true;
  $("results").classList.remove("busy");
  scrollTo({ top: view.scroll });
}
