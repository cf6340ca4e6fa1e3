// The filters: an input for each that the API describes, and the order of the products.
import { $, element } from "./dom.js";

const form = $("search");
const names = () => [...form.querySelectorAll(".filters [name]")].map((input) => input.name);

export function addInputs(filters) {
  form.weights.before(...filters.map(inputOf));
}

function inputOf({ name, label, help, kind, choices }) {
  if (kind === "choice") {
    const select = element("select", "");
    select.name = name;
    select.title = help;
    select.setAttribute("aria-label", label);
    select.append(new Option(`Any ${label.toLowerCase()}`, ""), ...choices.map((choice) => new Option(choice, choice)));
    return select;
  }
  const input = element("input", "");
  input.name = name;
  if (kind === "flag") input.type = "checkbox";
  else input.inputMode = "decimal";
  const labelled = element("label", label, kind);
  labelled.title = help;
  labelled.append(input);
  return labelled;
}

// The values of all inputs by name; "" for a filter that is not set.
export function values() {
  return Object.fromEntries(names().map((name) => [name, valueOf(form[name])]));
}

function valueOf(input) {
  if (input.type === "checkbox") return input.checked ? "true" : "";
  return input.inputMode === "decimal" ? input.value.replace(/[\p{Sc},\s]/gu, "") : input.value;
}

// Set all inputs from the parameters of an address.
export function fill(parameters) {
  names().forEach((name) => {
    const value = parameters.get(name) || "";
    if (form[name].type === "checkbox") form[name].checked = value === "true";
    else form[name].value = value;
  });
}

export const empty = () => Object.fromEntries(names().map((name) => [name, ""]));
