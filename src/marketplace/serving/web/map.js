// The map of the catalogue: a dot for each product, its card, and a list of the products in an area.
import { $, element } from "./dom.js";
import { PlaceCard } from "./map/card.js";
import { buildLegend, colourCategories } from "./map/colours.js";
import { AreaList } from "./map/list.js";
import { Plot } from "./map/plot.js";
import { buildListTools, buildZoomTools } from "./map/tools.js";
import { showMapHeading } from "./results.js";
import { counted } from "./texts.js";

const HELP = "Map of the catalogue. Arrows move it, plus and minus zoom, Enter lists the products in view.";

// Show the map of `places`, with the product `target`, if any, marked and in the centre.
export function showMap(places, { categories, labels }, target) {
  showMapHeading(`${counted(places.length, "product")}. Similar products are near each other.`);
  const canvas = element("canvas", "");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", HELP);
  const colours = colourCategories(categories);
  const plot = new Plot(canvas, { places, colours, labels });
  const placeCard = new PlaceCard(plot);
  const list = new AreaList(plot);
  plot.onMove = () => placeCard.follow();
  const frame = element("div", "", "plot");
  frame.append(canvas, buildZoomTools(plot), placeCard.node);
  const key = buildLegend(places, colours, (highlights) => {
    plot.highlights = highlights;
    plot.draw();
  });
  const whole = element("div", ""); // with the keys of this map: Back may restore another one
  whole.append(buildListTools(plot, list), frame, key, list.heading);
  $("map").replaceChildren(whole);
  usePointers(plot, placeCard);
  useKeys(whole, plot, placeCard, list);
  if (target) showTarget(plot, placeCard, target);
}

async function showTarget(plot, placeCard, target) {
  const place = plot.places.find(({ product_id: id }) => id === target);
  if (!place) {
    $("status").textContent += " Your product is not among them.";
    return;
  }
  plot.target = place;
  await plot.ready;
  plot.centre(place);
  placeCard.show(place, { open: true });
}

// The mouse shows the card of the dot it is over; a click or a tap opens it, or closes the open one.
function usePointers(plot, placeCard) {
  const { canvas } = plot;
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse" || placeCard.open || plot.drawing || event.buttons) return;
    const place = plot.near(event.offsetX, event.offsetY);
    canvas.classList.toggle("over", Boolean(place));
    if (place) placeCard.show(place, { open: false });
    else if (placeCard.place) placeCard.hide();
  });
  canvas.addEventListener("pointerleave", () => placeCard.place && !placeCard.open && placeCard.hide());
  canvas.addEventListener("click", (event) => {
    if (plot.drawing) return;
    const place = plot.near(event.offsetX, event.offsetY);
    if (place) placeCard.show(place, { open: true });
    else if (placeCard.place) placeCard.hide();
  });
}

// Enter lists the products in view; Escape closes the card, then the list, then leaves the map as it leaves other views.
function useKeys(whole, plot, placeCard, list) {
  whole.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === plot.canvas) list.show();
    else if (event.key === "Escape" && placeCard.open) placeCard.hide();
    else if (event.key === "Escape" && plot.selection) list.hide();
    else return;
    event.stopPropagation();
  });
}
