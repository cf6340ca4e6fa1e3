// The page as a whole: the form, links and keys.
import { ask } from "./api.js";
import { $ } from "./dom.js";
import "./drop.js";
import { clearForm, leave, open, show, showEverything, showMore, start, useForm } from "./navigation.js";

const form = $("search");

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
  const inputs = { leaving: event.target.name === "words", byKey: event.target.matches("input") };
  typing = setTimeout(useForm, 250, inputs);
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", clearForm);
$("more").addEventListener("click", showMore);
$("everything").addEventListener("click", showEverything);
$("open-filters").addEventListener("click", () => toggleFilters(!$("filters").classList.contains("open")));
$("close-filters").addEventListener("click", () => toggleFilters(false));
$("zoom").addEventListener("click", () => $("zoom").close());
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
    else leave();
  }
});

ask("api/catalogue")
  .then(start)
  .catch(() => {}) // `show` reports it
  .then(() => show({ top: false }));
