// An area that a finger or the mouse draws on the map.
const LEAST = 8; // pixels across: less is a tap

// Let the next stroke on a plot draw an area: `onArea` gets its outline, a list of points in pixels.
export function drawArea(plot, onArea) {
  const { canvas } = plot;
  const point = (event) => [event.offsetX, event.offsetY];
  plot.drawing = true;
  let pointer = null;
  const stroke = new AbortController();
  const on = (name, act) => canvas.addEventListener(name, act, { signal: stroke.signal });
  const end = () => {
    stroke.abort();
    plot.outline = null;
    plot.draw();
    setTimeout(() => (plot.drawing = false)); // after the click that ends the stroke
  };
  on("pointerdown", (event) => {
    if (event.button) return;
    if (pointer != null) {
      pointer = null; // a second finger: they zoom
      plot.outline = null;
      return;
    }
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    plot.outline = [point(event)];
  });
  on("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    plot.outline.push(point(event));
    plot.draw();
  });
  on("pointerup", (event) => {
    if (event.pointerId !== pointer) return;
    const outline = plot.outline;
    pointer = null;
    if (extent(outline) < LEAST) return (plot.outline = null);
    end();
    onArea(outline);
  });
  on("pointercancel", () => {
    pointer = null;
    plot.outline = null;
  });
  return end;
}

function extent(outline) {
  const across = [0, 1].map((axis) => outline.map((corner) => corner[axis]));
  return Math.max(...across.map((values) => Math.max(...values) - Math.min(...values)));
}
