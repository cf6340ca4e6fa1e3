// Chips above a list: the filters that are set, which a click removes, those that it offers, and categories to choose.
import { $, buildButton, element } from "./dom.js";

// `set` and `offer`: filters as `filters.describe` returns them; `categories`: how many products each has.
export function showChips({ set, offer = [], categories = {}, onFilter }) {
  const isSet = ({ name, value }) => set.some((other) => other.name === name && other.value === value);
  const left = offer.filter((filter) => !isSet(filter));
  const all = Object.keys(categories).map((category) => ({ name: "category", value: category, text: category }));
  const others = all.filter((category) => !isSet(category));
  const count = ({ name, value }) => (name === "category" ? categories[value] : undefined);
  const chips = [
    ...set.map((filter) => buildChip(filter, count(filter), true, () => onFilter({ [filter.name]: "" }))),
    ...(left.length ? [element("li", "Your filters:", "label")] : []),
    ...left.map((filter) => buildChip(filter, undefined, false, () => onFilter({ [filter.name]: filter.value }))),
    ...others.map((other) => buildChip(other, count(other), false, () => onFilter({ category: other.value }))),
  ];
  $("chips").replaceChildren(...chips);
  $("chips").hidden = set.length + left.length === 0 && all.length < 2;
}

function buildChip({ text }, count, isSet, onClick) {
  const button = buildButton("", onClick, "chip");
  button.setAttribute("aria-pressed", String(isSet));
  if (isSet) button.title = "Remove this filter";
  button.append(element("bdi", text));
  if (count != null) button.append(element("span", count.toLocaleString("en-GB")));
  const item = element("li", "");
  item.append(button);
  return item;
}
