// Suggestions at the search box: searches made here before, which the browser keeps, and names in the catalogue.
import { ask } from "./api.js";
import { $ } from "./dom.js";

const KEY = "searches";
const KEPT = 8; // searches
const form = $("search");

function recent() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || [];
  } catch {
    return []; // the browser keeps nothing, or somebody else wrote it
  }
}

export function keepSearch(words) {
  if (!words) return;
  const searches = [words, ...recent().filter((other) => other !== words)].slice(0, KEPT);
  try {
    localStorage.setItem(KEY, JSON.stringify(searches));
  } catch {
    // a browser that keeps nothing
  }
}

function option(text, label) {
  const node = new Option(label, text);
  node.label = label;
  return node;
}

let latest = 0;
export async function showSuggestions() {
  const words = form.words.value.trim();
  const mine = ++latest;
  const searches = recent().filter((search) => search.toLowerCase().includes(words.toLowerCase()) && search !== words);
  const names = words.length < 2 ? [] : await ask("api/suggestions", { words }).catch(() => []);
  if (mine !== latest) return;
  $("suggestions").replaceChildren(
    ...searches.map((search) => option(search, "recent search")),
    ...names.map(({ text, kind }) => option(text, kind)),
  );
}

form.words.addEventListener("focus", showSuggestions);
