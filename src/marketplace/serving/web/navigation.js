// From one view to another: ask what the address asks, and show it.
import { showBanner } from "./compare/banner.js";
import { $ } from "./dom.js";
import * as filters from "./filters.js";
import { address, changed, enter, entry, follow, photoOfEntry, restore } from "./history.js";
import { isHere, isSimilar, unrefined } from "./history.js";
import { answer, MOST_SIMILAR, nextToJudge } from "./questions.js";
import { showProblem } from "./results.js";
import { keepSearch, showSuggestions } from "./suggest.js";

const form = $("search");
const actions = {
  comparing: null, // the revision whose recommendations are compared with the current ones
  onFilter: changeFilter,
  onNext: judgeNext,
  onProblem: problem,
  onEdit: changeQuestion,
};
const SLOW = 150; // milliseconds, after which an answer is awaited visibly
let run = 0; // if answers arrive out of order, only the answer to the latest question is shown
let typed = null; // the history entry that typing added: more typing replaces it

export function start(options) {
  actions.comparing = options.compared;
  if (options.compared) showBanner(options.compared);
  filters.addInputs(options.filters);
  fillForm();
}

// Show what the address and the filters ask for; `top`: scroll to the top of the page.
export async function show({ top = true, offset = 0 } = {}) {
  const mine = ++run;
  entry.loading = true;
  $("refine").hidden = !isSimilar(address()); // a catalogue has no question
  form.order.hidden = address().has("view"); // they have an order of their own
  $("results").classList.add("busy");
  if (top) setTimeout(() => mine === run && entry.loading && showLoading(), SLOW);
  try {
    const draw = await answer(offset, actions);
    if (mine !== run) return;
    entry.loading = false;
    $("problem").hidden = true;
    ["map", "judge", "compared", "loading"].forEach((id) => ($(id).hidden = true));
    $("results").hidden = false;
    await draw();
    if (top) scrollTo({ top: 0 });
  } catch (error) {
    if (mine === run) problem(error);
  } finally {
    if (mine === run) $("results").classList.remove("busy");
  }
}

// Grey cards in place of the answer before.
function showLoading() {
  const shown = ["query", "problem", "chips", "results", "more", "empty", "compared", "map", "judge"];
  shown.forEach((id) => ($(id).hidden = true));
  $("heading").textContent = "Loading…";
  $("status").textContent = "";
  $("loading").hidden = false;
}

function problem(error) {
  entry.loading = false;
  ["map", "judge", "compared", "loading"].forEach((id) => ($(id).hidden = true));
  $("results").hidden = false;
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

// Show the next product whose lists differ; without one, all of them.
async function judgeNext(after) {
  if (actions.comparing) showBanner(actions.comparing);
  const next = await nextToJudge(after);
  return open(new Map(Object.entries(next ? { view: "compared", product: next } : { view: "changed" })));
}

// Set or remove a filter by its chip, which then is another one: the focus goes to the first.
async function changeFilter(changes) {
  enter(changed(changes), { file: photoOfEntry() });
  fillForm();
  await show({ top: false });
  ($("chips").querySelector("button") || $("results")).focus({ preventScroll: true });
}

// Change what is asked about the product or photo: the part of the photo, or the products that have thumbs.
function changeQuestion(changes) {
  enter(changed(changes), { file: photoOfEntry() });
  fillForm();
  return show({ top: false });
}

export function showEverything() {
  enter(new Map());
  fillForm();
  show();
}

export function usePhoto(file) {
  if (!file) return;
  const name = file.name || "pasted";
  const isAgain = address().get("photo") === name && !photoOfEntry(); // the photo that a reload dropped: the question stays
  if (isAgain) {
    enter(changed({}), { file, replace: true });
    return show();
  }
  const kept = isSimilar(address()) ? { ...filters.values(), ...unrefined() } : {}; // those of the catalogue are offered
  enter(new Map(Object.entries({ ...kept, photo: name })), { file });
  fillForm();
  show();
}

// Show what the form says. Words are for the catalogue, not for a product or photo; `edited`: the name of the input that
// changed; `byKey`: it was typed. A wrong amount is a note at its field, and the page stays as it is.
export function useForm({ edited, byKey }) {
  filters.check(edited);
  const leaving = edited === "words";
  if (leaving) showSuggestions();
  const elsewhere = leaving ? { ...unrefined(), product: "", photo: "", view: "" } : {};
  const file = leaving ? undefined : photoOfEntry();
  const next = changed({ words: form.words.value, ...filters.values(), ...elsewhere });
  if (isHere(next)) return;
  enter(next, { file, replace: byKey && typed === entry.key });
  typed = byKey ? entry.key : null;
  show({ top: false });
}

export function clearForm() {
  const file = photoOfEntry();
  enter(changed({ words: "", ...filters.empty(), ...unrefined() }), { file });
  setTimeout(() => {
    fillForm(); // the form is empty after its event
    show({ top: false });
  });
}

export function showMore() {
  const listed = isSimilar(address());
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
});
