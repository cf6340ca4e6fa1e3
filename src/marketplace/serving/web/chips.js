// The categories of the listed products.
import { $, element } from "./dom.js";

export function showChips(categories, chosen, onCategory) {
  const chips = Object.entries(categories).map(([name, n]) => {
    const chip = element("button", name, "chip");
    chip.type = "button";
    chip.setAttribute("aria-pressed", String(name === chosen));
    chip.append(element("span", n.toLocaleString("en-GB")));
    chip.addEventListener("click", () => onCategory(name === chosen ? "" : name));
    const item = element("li", "");
    item.append(chip);
    return item;
  });
  $("chips").replaceChildren(...chips);
  $("chips").hidden = chips.length < 2 && !chosen;
}
