// The buttons above the map, and those on it.
import { buildButton, element } from "../dom.js";
import { drawArea } from "./lasso.js";

const FACTOR = 1.6; // of a click on + or −

// Return the buttons that list the products in an area of a plot.
export function buildListTools(plot, list) {
  const bar = element("div", "", "map-tools");
  bar.append(buildAreaButton(plot, list), buildButton("List products in view", () => list.show()));
  return bar;
}

// Return the buttons that zoom a plot, for those who have no wheel and no fingers.
export function buildZoomTools(plot) {
  const bar = element("div", "", "zoom-tools");
  bar.append(
    buildSign("+", "Zoom in", () => plot.zoomBy(FACTOR)),
    buildSign("−", "Zoom out", () => plot.zoomBy(1 / FACTOR)),
    buildSign("⤢", "Show the whole map", () => plot.showWhole()),
  );
  return bar;
}

function buildSign(text, name, act) {
  const node = buildButton(text, act);
  node.title = name;
  node.setAttribute("aria-label", name);
  return node;
}

// The button that lets the next stroke draw an area; again, it gives that up.
function buildAreaButton(plot, list) {
  let stop = null;
  const node = buildButton("Draw an area", () => {
    if (stop) stop();
    stop = stop ? null : drawArea(plot, finish);
    show();
  });
  const show = () => {
    node.setAttribute("aria-pressed", String(Boolean(stop)));
    plot.canvas.classList.toggle("drawing", Boolean(stop));
  };
  const finish = (outline) => {
    stop = null;
    show();
    list.show(outline);
  };
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !stop) return;
    node.click();
    event.stopPropagation();
  });
  show();
  return node;
}
