// A canvas with a dot for each product. Fingers, the mouse and keys move and zoom it.
import { select, zoom, zoomIdentity } from "./d3.js";
import { chooseLabels, drawLabels } from "./labels.js";

export const REACH = 14; // pixels between a finger and the dot that it means
const MARGIN = 24; // pixels
const CLOSE = 6; // times the size of the whole map, for the product that the address names
const CLOSEST = 60; // times the size of the whole map
const STEP = 60; // pixels, for a key
const KEYS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
let latest = zoomIdentity; // the part of the map that was shown last; filters and Back keep it

export class Plot {
  #resolve;

  // `places` have x and y from -1 to 1; `colours` has a colour for each category.
  constructor(canvas, { places, colours, labels }) {
    this.canvas = canvas;
    this.places = places;
    this.colours = colours;
    this.labels = chooseLabels(labels, places);
    this.highlights = new Set(); // categories; without any, none is faint
    this.selection = null; // a set of places; the others are faint
    this.current = null; // the place whose card is shown
    this.target = null; // the place of the product that the address names
    this.outline = null; // of the area that is being drawn
    this.drawing = false; // an area: one finger or the mouse does not move the map
    this.onMove = () => {};
    this.transform = latest;
    this.ready = new Promise((resolve) => (this.#resolve = resolve)); // once the size of the canvas is known
    this.zoom = zoom()
      .scaleExtent([1, CLOSEST])
      .constrain((transform) => this.#constrain(transform))
      .filter((event) => !event.button && (!this.drawing || event.type === "wheel" || event.touches?.length > 1))
      .on("zoom", ({ transform }) => this.#move(transform));
    select(canvas).call(this.zoom).property("__zoom", latest);
    canvas.addEventListener("keydown", (event) => this.#useKey(event));
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // Return where a place is on the canvas, in pixels.
  at(place) {
    return this.transform.apply(this.#atFirst(place));
  }

  // Return the place within reach of a point in pixels that is nearest to it; null if there is none.
  near(x, y) {
    let nearest = null;
    let least = REACH;
    for (const place of this.places) {
      if (this.#faint(place)) continue;
      const [left, top] = this.at(place);
      const distance = Math.hypot(left - x, top - y);
      if (distance > least) continue;
      least = distance;
      nearest = place;
    }
    return nearest;
  }

  // Return the places within an outline, a list of points in pixels; without one, the places in view.
  within(outline) {
    const area = new Path2D();
    if (outline) outline.forEach((point) => area.lineTo(...point));
    else area.rect(0, 0, ...this.size);
    const context = document.createElement("canvas").getContext("2d"); // without the scale of the screen
    return this.places.filter((place) => !this.#dim(place) && context.isPointInPath(area, ...this.at(place)));
  }

  zoomBy(factor) {
    select(this.canvas).call(this.zoom.scaleBy, factor);
  }

  showWhole() {
    select(this.canvas).call(this.zoom.transform, zoomIdentity);
  }

  // Move a place to the centre, close enough to see its neighbours.
  centre(place) {
    const canvas = select(this.canvas);
    canvas.call(this.zoom.transform, zoomIdentity.scale(CLOSE));
    canvas.call(this.zoom.translateTo, ...this.#atFirst(place));
  }

  draw() {
    if (!this.size) return;
    const context = this.canvas.getContext("2d");
    const [width, height] = this.size;
    context.clearRect(0, 0, width, height);
    this.#drawDots(context);
    drawLabels(context, this);
    [this.target, this.current].filter(Boolean).forEach((place) => this.#ring(context, place));
    if (this.outline) this.#drawOutline(context);
  }

  // Return where a place is as long as the whole map is shown.
  #atFirst({ x, y }) {
    const [width, height] = this.size;
    const across = MARGIN + ((x + 1) / 2) * (width - 2 * MARGIN);
    const down = MARGIN + ((1 - y) / 2) * (height - 2 * MARGIN);
    return [across, down];
  }

  #move(transform) {
    this.transform = transform;
    latest = transform;
    this.draw();
    this.onMove();
  }

  // Keep the whole map in view while it fits. The closer one looks, the more of the view may lie outside: a place at the
  // border can be in the centre, too.
  #constrain(transform) {
    if (!this.size) return transform;
    const inside = 1 - Math.min(1, (transform.k - 1) / (CLOSE - 1));
    const centre = transform.invert(this.size.map((pixels) => pixels / 2));
    const shift = this.size.map((pixels, axis) => {
      const least = (inside * pixels) / (2 * transform.k);
      return centre[axis] - Math.min(Math.max(centre[axis], least), pixels - least);
    });
    return transform.translate(...shift);
  }

  #useKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = KEYS[event.key];
    if (direction) select(this.canvas).call(this.zoom.translateBy, ...direction.map((step) => (step * STEP) / this.transform.k));
    else if ("+=".includes(event.key)) this.zoomBy(1.5);
    else if (event.key === "-") this.zoomBy(1 / 1.5);
    else return;
    event.preventDefault();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return; // the map is hidden
    this.size = [width, height];
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    this.canvas.getContext("2d").setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this.draw();
    this.onMove();
    this.#resolve();
  }

  #dim(place) {
    return this.highlights.size > 0 && !this.highlights.has(place.category);
  }

  #faint(place) {
    return this.#dim(place) || Boolean(this.selection && !this.selection.has(place));
  }

  get #radius() {
    const space = Math.sqrt((this.size[0] * this.size[1]) / Math.max(1, this.places.length)); // pixels for a dot
    return Math.min(4.5, Math.max(2, 0.18 * space)) * Math.min(3, this.transform.k ** 0.4);
  }

  #drawDots(context) {
    const radius = this.#radius;
    const paths = new Map(); // a path for each colour, faint or not: thousands of fills take too long
    for (const place of this.places) {
      const [x, y] = this.at(place);
      const alpha = this.#faint(place) ? 0.12 : 0.8;
      const key = `${alpha} ${this.colours.get(place.category)}`;
      if (!paths.has(key)) paths.set(key, new Path2D());
      paths.get(key).moveTo(x + radius, y);
      paths.get(key).arc(x, y, radius, 0, 2 * Math.PI);
    }
    for (const key of [...paths.keys()].sort()) { // the faint ones first
      [context.globalAlpha, context.fillStyle] = key.split(" ");
      context.fill(paths.get(key));
    }
    context.globalAlpha = 1;
  }

  #ring(context, place) {
    const [x, y] = this.at(place);
    const ink = getComputedStyle(this.canvas).color;
    context.beginPath();
    context.arc(x, y, this.#radius + 4, 0, 2 * Math.PI);
    context.strokeStyle = ink;
    context.lineWidth = 2.5;
    context.stroke();
  }

  #drawOutline(context) {
    context.beginPath();
    this.outline.forEach((point) => context.lineTo(...point));
    context.closePath();
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.lineWidth = 2;
    context.setLineDash([6, 4]);
    context.stroke();
    context.setLineDash([]);
  }
}
