// The card of a product on the map: the mouse shows it, a click or a tap opens it.
import { photoPath } from "../api.js";
import { buildButton, element } from "../dom.js";
import { money } from "../texts.js";

const GAP = 16; // pixels between a dot and its card
const NARROW = 560; // pixels: on a narrower map, the card is a bar at the border

export class PlaceCard {
  constructor(plot) {
    this.plot = plot;
    this.place = null;
    this.open = false; // until it is closed; otherwise as long as the mouse is over the dot
    this.node = element("div", "", "place-card");
    this.node.hidden = true;
    this.close = buildButton("×", () => this.hide(), "close");
    this.close.setAttribute("aria-label", "Close");
  }

  // Show a place; `open`: with a link to the product, until it is closed.
  show(place, { open }) {
    this.open = open;
    this.node.classList.toggle("open", open);
    if (place !== this.place) this.node.replaceChildren(this.#buildLink(place), this.close);
    this.place = place;
    this.node.hidden = false;
    this.plot.current = place;
    this.plot.draw();
    this.follow();
  }

  hide() {
    this.open = false;
    this.place = null;
    this.node.hidden = true;
    this.plot.current = null;
    this.plot.draw();
  }

  // Stay next to the dot, within the map.
  follow() {
    if (!this.place) return;
    const [x, y] = this.plot.at(this.place);
    const [width, height] = this.plot.size;
    this.node.classList.toggle("away", x < 0 || y < 0 || x > width || y > height);
    const bar = width < NARROW;
    this.node.classList.toggle("bar", bar);
    this.node.classList.toggle("top", bar && y > height / 2);
    this.node.style.left = this.node.style.top = "";
    if (bar) return;
    const { offsetWidth: wide, offsetHeight: high } = this.node;
    const left = x + GAP + wide > width ? x - GAP - wide : x + GAP;
    this.node.style.left = `${Math.min(Math.max(4, left), width - wide - 4)}px`;
    this.node.style.top = `${Math.min(Math.max(4, y - high / 2), height - high - 4)}px`;
  }

  #buildLink(place) {
    const link = element("a", "");
    link.href = "?" + new URLSearchParams({ product: place.product_id });
    const img = element("img", "");
    img.alt = "";
    img.src = photoPath(place.image_id, 320);
    const name = element("span", place.name, "name");
    name.dir = "auto";
    const facts = element("span", "", "facts");
    facts.append(name, element("span", money(place), "price"), element("span", "See similar products", "go"));
    link.append(img, facts);
    return link;
  }
}
