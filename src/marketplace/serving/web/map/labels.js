// The names of groups on the map, as many as fit without covering each other.
const NEAR = 0.07; // of a label to the products that it names; the map is 2 wide
const LEAST = 3; // products near a label: filters may have left none
const SPACE = [14, 12]; // pixels around a label
const HALF = 8; // of its height, in pixels
const BORDER = 6; // pixels to the border of the map

// Return the labels that still have products of their category near them.
export const chooseLabels = (labels, places) =>
  labels.filter((label) => {
    const near = ({ x, y, category }) =>
      category === label.category && Math.abs(x - label.x) < NEAR && Math.abs(y - label.y) < NEAR;
    return places.filter(near).length >= LEAST;
  });

// Draw the labels of a plot, the most telling first; one that would cover another waits until there is space.
export function drawLabels(context, plot) {
  const style = getComputedStyle(plot.canvas);
  const [width, height] = plot.size;
  context.font = `600 ${width < 560 ? 12 : 13}px ${style.fontFamily}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const boxes = [];
  for (const label of plot.labels) {
    const half = context.measureText(label.text).width / 2;
    const [at, y] = plot.at(label);
    if (at < 0 || at > width || y < HALF || y > height - HALF || 2 * half > width) continue;
    const x = Math.min(Math.max(at, half + BORDER), width - half - BORDER);
    const box = [x - half, y - HALF, x + half, y + HALF];
    if (boxes.some((other) => overlap(box, other))) continue;
    boxes.push(box);
    context.lineWidth = 4;
    context.strokeStyle = style.backgroundColor;
    context.strokeText(label.text, x, y);
    context.fillStyle = style.color;
    context.fillText(label.text, x, y);
  }
}

const overlap = (one, other) =>
  one[0] < other[2] + SPACE[0] && other[0] < one[2] + SPACE[0] && one[1] < other[3] + SPACE[1] && other[1] < one[3] + SPACE[1];
