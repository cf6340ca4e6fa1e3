// The filters: an input for each that the API describes, and the order of the products.
import { $, element } from "./dom.js";

const AMOUNT = /^(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?$/;
const MOST = 1e12; // that the API takes
const form = $("search");
const names = () => [...$("filters").querySelectorAll("[name]")].map((input) => input.name);
let descriptions = []; // the filters, as the API describes them
let right = {}; // the latest value of each amount that was one

export function addInputs(filters) {
  descriptions = filters;
  $("refine").after(...filters.map(inputOf));
}

function inputOf({ name, label, help, kind, choices }) {
  const input = element(kind === "choice" ? "select" : "input", "");
  input.name = name;
  input.setAttribute("form", "search");
  if (kind === "choice") {
    input.title = help;
    input.setAttribute("aria-label", label);
    input.append(new Option(`Any ${label.toLowerCase()}`, ""), ...choices.map((choice) => new Option(choice, choice)));
    return input;
  }
  const text = element("label", label, kind);
  text.title = help;
  text.append(input);
  if (kind === "flag") {
    input.type = "checkbox";
    return text;
  }
  input.inputMode = "decimal";
  input.setAttribute("aria-describedby", `note-${name}`);
  const note = element("p", "", "note");
  note.id = `note-${name}`;
  note.setAttribute("aria-live", "polite");
  const field = element("div", "", "field");
  field.append(text, note);
  return field;
}

// The values of all inputs by name; "" for a filter that is not set. A wrong amount counts as the right one before it.
export function values() {
  return Object.fromEntries(names().map((name) => [name, isWrong(name) ? right[name] || "" : valueOf(form[name])]));
}

const isWrong = (name) => form[name].getAttribute("aria-invalid") === "true";

function valueOf(input) {
  if (input.type === "checkbox") return input.checked ? "true" : "";
  if (input.type === "range") return input.value === input.defaultValue ? "" : input.value;
  return input.inputMode === "decimal" ? withoutSigns(input.value).replaceAll(",", "") : input.value;
}

const withoutSigns = (text) => text.replace(/[\p{Sc}\s]/gu, "");

// Put a note at each amount that is none, and at a lowest amount above the highest; `edited`: the input that changed last.
export function check(edited) {
  const amounts = descriptions.filter(({ kind }) => kind === "amount");
  amounts.forEach(({ name }) => setNote(name, isAmount(form[name].value) ? "" : "Enter an amount such as 12.50."));
  amounts.forEach((low) => {
    const high = amounts.find(({ name }) => low.name.startsWith("min_") && name === low.name.replace("min_", "max_"));
    if (!high || !(amountOf(low) > amountOf(high))) return;
    if (edited === low.name) setNote(low.name, `Above the ${high.label.toLowerCase()}.`);
    else setNote(high.name, `Below the ${low.label.toLowerCase()}.`);
  });
  amounts.filter(({ name }) => !isWrong(name)).forEach(({ name }) => (right[name] = valueOf(form[name])));
  showCount();
}

function isAmount(text) {
  const digits = withoutSigns(text);
  return !digits || (digits !== "." && AMOUNT.test(digits) && Number(digits.replaceAll(",", "")) <= MOST);
}

// The amount in a field; NaN if there is none.
const amountOf = ({ name }) => (isWrong(name) ? NaN : parseFloat(valueOf(form[name])));

function setNote(name, text) {
  form[name].setAttribute("aria-invalid", String(Boolean(text)));
  $(`note-${name}`).textContent = text;
}

// Set all inputs from the parameters of an address.
export function fill(parameters) {
  names().forEach((name) => {
    const value = parameters.get(name) || "";
    if (form[name].type === "checkbox") form[name].checked = value === "true";
    else form[name].value = value || form[name].defaultValue || "";
  });
  right = {};
  check();
}

// The filters that are set; order, words and balance are no filters.
export const current = () => describe(values());

// The filters among these values, each with its text on a chip: a choice speaks for itself, an amount needs its label.
export function describe(set) {
  const text = {
    choice: ({ name }) => set[name],
    amount: ({ name, label }) => `${label} ${set[name]}`,
    flag: ({ label }) => label,
  };
  const filled = descriptions.filter(({ name }) => set[name]);
  return filled.map((filter) => ({ name: filter.name, value: set[filter.name], text: text[filter.kind](filter) }));
}

// Show how much is set, at the button that opens the filters, and the button that clears the form if there is a use.
function showCount() {
  const refinements = ["but", "balance"].filter((name) => valueOf(form[name]));
  const n = current().length + refinements.length;
  $("badge").textContent = n;
  $("badge").hidden = n === 0;
  $("clear").hidden = ![...form.elements].some((input) => input.name && valueOf(input));
}

export const canChoose = (name, value) => [...(form[name]?.options || [])].some((option) => option.value === value);
export const empty = () => Object.fromEntries(names().map((name) => [name, ""]));
