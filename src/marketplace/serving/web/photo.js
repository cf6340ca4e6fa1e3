// A photo of the visitor's own: what it seems to show, and the part of it that counts.
import { buildButton, element } from "./dom.js";
import { showQuery } from "./query.js";
import { clear } from "./results.js";

const LEAST = 0.05; // share of a side: a shorter drag is a click
const QUARTER = 90; // degrees
const LIKELY = 0.05; // probability of a second category that is named

// `visible`: categories with their probabilities; `part`: the turn and the crop in the address.
export function showPhoto(file, visible, { turn, crop }, onEdit) {
  document.title = "Your photo · Similar products";
  const degrees = Number(turn) || 0;
  const frame = element("div", "", "crop");
  const canvas = element("canvas", "");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Your photo. Drag to choose a part of it.");
  const selection = element("div", "", "selection");
  frame.append(canvas, selection);
  const hint = element("span", crop ? "" : "Drag on the photo to choose a part.");
  draw(canvas, file, degrees).catch(() => {
    frame.replaceChildren(element("p", "This browser cannot show your photo’s format."));
    hint.remove();
  });
  const edges = crop ? crop.split(",").map(Number) : null;
  place(selection, edges);
  letCrop(canvas, selection, edges, (drawn) => onEdit({ crop: drawn.map((edge) => edge.toFixed(3)).join(",") }));
  const tools = element("div", "", "tools");
  tools.append(buildButton("Turn", () => onEdit({ turn: String((degrees + QUARTER) % 360), crop: "" })));
  if (crop) tools.append(buildButton("Whole photo", () => onEdit({ crop: "" })));
  tools.append(hint);
  showQuery([frame], "Your photo", { below: [line(describe(visible)), tools] });
}

export function showLostPhoto(name) {
  document.title = "Your photo · Similar products";
  const again = element("label", "Choose a photo", "button");
  again.htmlFor = "photo";
  showQuery([], "Your photo", { below: [line(`Reloading dropped your photo ${name}. Choose it again.`), again] });
  clear();
}

// "Looks like Home & Garden (83%), or Office Furniture (9%)."
function describe(visible) {
  const likely = visible.filter(({ probability }, rank) => rank === 0 || probability >= LIKELY);
  const [first, ...others] = likely.map(({ category, probability }) => `${category} (${Math.round(100 * probability)}%)`);
  if (!first) return "";
  return others.length ? `Looks like ${first}, or ${others.join(" or ")}.` : `Looks like ${first}.`;
}

// Draw a file, turned clockwise. Fails if the browser cannot read its format.
async function draw(canvas, file, degrees) {
  const bitmap = await createImageBitmap(file);
  const isSideways = degrees % 180 !== 0;
  canvas.width = isSideways ? bitmap.height : bitmap.width;
  canvas.height = isSideways ? bitmap.width : bitmap.height;
  const context = canvas.getContext("2d");
  context.translate(canvas.width / 2, canvas.height / 2);
  context.rotate((degrees * Math.PI) / 180);
  context.drawImage(bitmap, -bitmap.width / 2, -bitmap.height / 2);
}

// Show a selection by its edges, left, top, right and bottom, as shares; null: nothing is selected.
function place(selection, edges) {
  selection.hidden = !edges;
  if (!edges) return;
  const [left, top, right, bottom] = edges.map((edge) => 100 * edge);
  selection.style.inset = `${top}% ${100 - right}% ${100 - bottom}% ${left}%`;
}

// Let a pointer draw a selection in place of the one that was asked about.
function letCrop(canvas, selection, answered, onCrop) {
  let start = null;
  const position = ({ clientX, clientY }) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const share = (value, size) => Math.min(1, Math.max(0, value / size));
    return [share(clientX - left, width), share(clientY - top, height)];
  };
  const edgesTo = (event) => {
    const end = position(event);
    return [0, 1].map((axis) => Math.min(start[axis], end[axis])).concat([0, 1].map((axis) => Math.max(start[axis], end[axis])));
  };
  canvas.addEventListener("pointerdown", (event) => {
    start = position(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => start && place(selection, edgesTo(event)));
  canvas.addEventListener("pointerup", (event) => {
    const edges = start && edgesTo(event);
    start = null;
    place(selection, answered); // Back shows the photo as it was asked about
    if (edges && edges[2] - edges[0] >= LEAST && edges[3] - edges[1] >= LEAST) onCrop(edges);
  });
  canvas.addEventListener("pointercancel", () => {
    start = null;
    place(selection, answered);
  });
}

function line(text) {
  const paragraph = element("p", text);
  paragraph.dir = "auto";
  return paragraph;
}
