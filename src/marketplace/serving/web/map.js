// The map of the catalogue: a dot for each product, drawn by Vega-Lite, which is loaded with the first map.
import { photoPath } from "./api.js";
import { $, element } from "./dom.js";
import { showMapHeading } from "./results.js";
import { counted } from "./texts.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function specification(places) {
  const wide = innerWidth > 700;
  return {
    description: "Map of the catalogue: similar products are near each other",
    width: "container",
    height: Math.max(320, Math.min(innerHeight - 260, 760)),
    autosize: { type: "fit", contains: "padding" },
    background: "transparent",
    data: { values: places },
    params: [
      { name: "view", select: "interval", bind: "scales" },
      { name: "chosen", select: { type: "point", fields: ["category"] }, bind: "legend" },
    ],
    mark: { type: "circle", size: places.length > 2000 ? 28 : 60, cursor: "pointer" },
    encoding: {
      x: { field: "x", type: "quantitative", axis: null, scale: { nice: false, padding: 12 } },
      y: { field: "y", type: "quantitative", axis: null, scale: { nice: false, padding: 12 } },
      color: {
        field: "category",
        type: "nominal",
        scale: { scheme: "tableau20" },
        legend: { title: null, orient: wide ? "right" : "bottom", columns: wide ? 1 : 2, symbolOpacity: 1, labelLimit: wide ? 220 : 150 },
      },
      opacity: { condition: { param: "chosen", value: 0.8 }, value: 0.06 },
    },
    config: { view: { stroke: null }, legend: { labelColor: colour("--ink"), labelFontSize: 13, symbolSize: 90 }, font: "system-ui, sans-serif" },
  };
}

// Show the product under the pointer as a small card next to it.
function showHovered(place, event) {
  const hovered = $("hovered");
  hovered.hidden = !place;
  if (!place) return;
  const [img, name] = hovered.children;
  if (img.dataset.image !== place.image_id) img.src = photoPath(place.image_id, 160);
  img.dataset.image = place.image_id;
  name.textContent = place.name;
  const left = event.clientX + 196 > innerWidth ? event.clientX - 188 : event.clientX + 16;
  hovered.style.left = `${Math.max(8, left)}px`;
  hovered.style.top = `${Math.min(event.clientY + 12, innerHeight - 220)}px`;
}

export async function showMap(places, onProduct) {
  showMapHeading(`${counted(places.length, "product")}. Similar products are near each other. Drag to move, scroll to zoom, click to see similar products.`);
  $("map").replaceChildren(element("p", "Drawing the map…", "waiting"));
  await import("./vega.js"); // defines vegaEmbed
  // Vega interprets its expressions: this page does not allow code generated from text.
  const options = { mode: "vega-lite", actions: false, ast: true, defaultStyle: false, renderer: "canvas", tooltip: () => {} };
  const { view } = await vegaEmbed("#map", specification(places), options);
  const placeOf = (item) => (item?.datum?.product_id ? item.datum : null);
  view.addEventListener("pointermove", (event, item) => showHovered(placeOf(item), event));
  view.addEventListener("click", (_, item) => placeOf(item) && onProduct(item.datum.product_id));
  $("map").addEventListener("pointerleave", () => showHovered(null));
}
