// From one view to another: ask what the address asks, and show it.
import { $ } from "./dom.js";
import * as filters from "./filters.js";
import { address, changed, enter, entry, follow, photoOfEntry, restore } from "./history.js";
import { answer, MOST_SIMILAR } from "./questions.js";
import { showProblem } from "./results.js";

const form = $("search");
const actions = {
  comparing: false, // with what another revision recommended
  onCategory: chooseCategory,
  onProduct: (id) => open(changed({ view: "", product: id })),
  onProblem: problem,
};
let run = 0; // if answers arrive out of order, only the answer to the latest question is shown
let typed = null; // the history entry that typing added: more typing replaces it

export function start(options) {
  actions.comparing = Boolean(options.compared);
  filters.addInputs(options.filters);
  fillForm();
}

// Show what the address and the filters ask for; `top`: scroll to the top of the page.
export async function show({ top = true, offset = 0 } = {}) {
  const mine = ++run;
  form.weights.hidden = !(address().has("product") || address().has("photo")); // a catalogue has no question
  $("results").classList.add("busy");
  try {
    const draw = await answer(offset, actions);
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

function problem(error) {
  ["map", "judge"].forEach((id) => ($(id).hidden = true));
  showProblem(error.message);
  scrollTo({ top: 0 });
}

function fillForm() {
  const query = address();
  form.words.value = query.get("words") || "";
  filters.fill(query);
}

export function open(next) {
  enter(next);
  fillForm();
  return show().then(() => $("results").focus({ preventScroll: true }));
}

function chooseCategory(name) {
  enter(changed({ category: name }));
  fillForm();
  show();
}

export function showEverything() {
  enter(new Map());
  fillForm();
  show();
}

export function usePhoto(file) {
  if (!file) return;
  enter(changed({ photo: file.name || "pasted", product: "", words: "", view: "" }), { file });
  form.words.value = "";
  show();
}

// Show what the form says; `leaving`: it is for the catalogue, not for the product or photo; `byKey`: it was typed.
export function useForm({ leaving, byKey }) {
  const elsewhere = leaving ? { product: "", photo: "", view: "" } : {};
  const file = leaving ? undefined : photoOfEntry();
  const next = changed({ words: form.words.value, ...filters.values(), ...elsewhere });
  enter(next, { file, replace: byKey && typed === entry.key });
  typed = byKey ? entry.key : null;
  show({ top: false });
}

export function clearForm() {
  const file = photoOfEntry();
  enter(changed({ words: "", ...filters.empty() }), { file });
  setTimeout(show); // the form is empty after its event
}

export function showMore() {
  const listed = address().has("product") || address().has("photo");
  if (listed) entry.similar = Math.min(MOST_SIMILAR, 2 * entry.similar);
  show({ top: false, offset: listed ? 0 : $("results").children.length });
}

// Leave a product, a photo, the map or judging, to where one came from.
export function leave() {
  if (!["product", "photo", "view", "judge"].some((name) => address().has(name))) return;
  if (history.state?.first) showEverything();
  else history.back();
}

addEventListener("popstate", () => {
  const view = follow();
  fillForm();
  if (!view) return show();
  ++run; // an answer that is still to come is for another question
  restore(view);
  $("results").classList.remove("busy");
});
