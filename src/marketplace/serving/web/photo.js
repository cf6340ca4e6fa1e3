// A photo of the visitor's own.
import { element } from "./dom.js";
import { showQuery } from "./query.js";
import { clear } from "./results.js";

export function showPhoto(file) {
  document.title = "Your photo · Similar products";
  const mine = element("img", "");
  mine.alt = "your photo";
  mine.src = URL.createObjectURL(file);
  mine.onload = () => URL.revokeObjectURL(mine.src);
  showQuery([mine], "Your photo", { below: [buildLine(file.name)] });
}

export function showLostPhoto(name) {
  document.title = "Your photo · Similar products";
  const again = element("label", "Choose a photo", "button");
  again.htmlFor = "photo";
  showQuery([], "Your photo", { below: [buildLine(`Reloading dropped your photo ${name}. Choose it again.`), again] });
  clear();
}

function buildLine(text) {
  const paragraph = element("p", text);
  paragraph.dir = "auto";
  return paragraph;
}
