// The colours of categories: always the same for a category, whatever the filters leave on the map.
import { buildButton, element } from "../dom.js";

// Vega's scheme `tableau20`, the ten strong colours first.
const STRONG = "4c78a8 f58518 54a24b e45756 b79a20 439894 b279a2 d67195 9e765f 79706e";
const PALE = "9ecae9 ffbf79 88d27a ff9d98 f2cf5b 83bcb6 d6a5c9 fcbfd2 d8b5a5 bab0ac";
const COLOURS = `${STRONG} ${PALE}`.split(" ").map((hex) => `#${hex}`);

// Return the colour of each of all categories.
export const colourCategories = (categories) =>
  new Map(categories.map((category, place) => [category, COLOURS[place % COLOURS.length]]));

// Return a legend of the categories that are on the map; each is a button that highlights it.
export function buildLegend(places, colours, onHighlight) {
  const counts = new Map();
  places.forEach(({ category }) => counts.set(category, (counts.get(category) || 0) + 1));
  const highlights = new Set();
  const list = element("ul", "", "legend");
  list.setAttribute("aria-label", "Categories");
  const present = [...colours.keys()].filter((category) => counts.has(category));
  list.append(...present.map((category) => buildEntry(category, counts.get(category))));
  return list;

  function buildEntry(category, n) {
    const swatch = element("span", "", "swatch");
    swatch.style.background = colours.get(category);
    const button = buildButton("", toggle);
    button.append(swatch, element("span", category), element("span", n.toLocaleString("en-GB"), "n"));
    button.setAttribute("aria-pressed", "false");
    function toggle() {
      if (!highlights.delete(category)) highlights.add(category);
      button.setAttribute("aria-pressed", String(highlights.has(category)));
      onHighlight(highlights);
    }
    const item = element("li", "");
    item.append(button);
    return item;
  }
}
