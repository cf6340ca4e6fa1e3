// The products of an area of the map, as cards below it.
import { card } from "../card.js";
import { $, buildButton, element } from "../dom.js";
import { counted } from "../texts.js";

const MOST = 96; // cards

export class AreaList {
  constructor(plot) {
    this.plot = plot;
    this.heading = element("div", "", "area-list");
    this.heading.setAttribute("aria-live", "polite");
    this.title = element("h2", "");
    this.title.hidden = true;
    this.clear = buildButton("Clear", () => this.hide(), "plain");
    this.clear.hidden = true;
    this.heading.append(this.title, this.clear);
  }

  // List the places within an outline; without one, the places in view.
  show(outline) {
    const places = this.plot.within(outline);
    const cards = nearestFirst(places).slice(0, MOST);
    const rest = cards.length < places.length ? `. The first ${cards.length}:` : "";
    this.title.textContent = `${counted(places.length, "product")} ${outline ? "in the area" : "in view"}${rest}`;
    this.title.hidden = false;
    this.clear.hidden = false;
    this.#select(places);
    $("results").replaceChildren(...cards.map((place) => card({ ...place, image_ids: [place.image_id] })));
    this.heading.scrollIntoView({ block: "nearest" });
  }

  hide() {
    this.title.hidden = true;
    this.clear.hidden = true;
    this.#select(null);
    $("results").replaceChildren();
  }

  #select(places) {
    this.plot.selection = places && new Set(places);
    this.plot.draw();
  }
}

// Sort places by their distance from the middle of them all.
function nearestFirst(places) {
  const mean = (axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length;
  const [x, y] = [mean("x"), mean("y")];
  return [...places].sort((a, b) => Math.hypot(a.x - x, a.y - y) - Math.hypot(b.x - x, b.y - y));
}
