// The entries of the browser's history: what each one asks, and what it showed, which Back restores at once.
import { $ } from "./dom.js";

const SIMILAR = 24;
const VIEWS = 30; // that Back restores
const KEPT = ["query", "heading", "status", "problem", "chips", "results", "more", "empty", "compared", "map", "judge"];
const photos = new Map(); // history key -> the file that was dropped, chosen or pasted
const views = new Map(); // history key -> what was shown
let lastKey = Date.now();
const newKey = () => String(++lastKey);

// The entry that is shown: its key, and the number of similar products to request.
export const entry = { key: newKey(), similar: SIMILAR };
history.scrollRestoration = "manual";
history.replaceState({ key: entry.key, first: true }, "");

export const address = () => new URLSearchParams(location.search);
export const changed = (changes) => new Map(Object.entries({ ...Object.fromEntries(address()), ...changes }));
export const photoOfEntry = () => photos.get(entry.key);

// Go to the address with these parameters; `file`: the photo it asks about; `replace`: instead of the current entry.
export function enter(next, { file, replace = false } = {}) {
  const filled = [...next].filter(([, value]) => value);
  if (!replace) {
    remember();
    entry.key = newKey();
  }
  if (file) photos.set(entry.key, file);
  entry.similar = SIMILAR;
  const query = String(new URLSearchParams(filled));
  const state = { key: entry.key, first: replace && history.state?.first };
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
  view.parts.forEach(({ id, hidden, nodes }) => {
    $(id).hidden = hidden;
    $(id).replaceChildren(...nodes);
  });
  scrollTo({ top: view.scroll });
}
