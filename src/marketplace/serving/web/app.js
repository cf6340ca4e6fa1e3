// The page as a whole: the form, links and keys.
import { ask } from "./api.js";
import { $ } from "./dom.js";
import "./drop.js";
import { clearForm, leave, open, show, showEverything, showMore, start, useForm } from "./navigation.js";
import { keepSearch } from "./suggest.js";

const form = $("search");

function toggleFilters(open) {
  $("filters").classList.toggle("open", open);
  $("open-filters").setAttribute("aria-expanded", String(open));
  const focused = open ? $("filters").querySelector("[name]") : $("open-filters");
  focused.focus();
}

let typing;
document.addEventListener("input", ({ target }) => {
  if (target.form !== form || target.id === "photo") return; // the filters are in the form, but elsewhere on the page
  clearTimeout(typing);
  typing = setTimeout(useForm, 250, { edited: target.name, byKey: target.matches("input") });
});
form.addEventListener("submit", (event) => event.preventDefault());
form.words.addEventListener("change", () => keepSearch(form.words.value.trim()));
form.addEventListener("reset", clearForm);
$("more").addEventListener("click", showMore);
$("everything").addEventListener("click", showEverything);
$("open-filters").addEventListener("click", () => toggleFilters(!$("filters").classList.contains("open")));
addEventListener(
  "click",
  (event) => {
    if (!$("filters").classList.contains("open") || event.target.closest("#filters, #open-filters")) return;
    event.preventDefault(); // a click outside the sheet closes it, and does nothing else
    event.stopPropagation();
    toggleFilters(false);
  },
  { capture: true },
);
$("close-filters").addEventListener("click", () => toggleFilters(false));
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
  .then(() => show({ top: false })); // a reader who has scrolled by now stays there
