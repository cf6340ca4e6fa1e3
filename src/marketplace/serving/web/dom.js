// The elements of the page. Product texts are always set as text, never as HTML.
import { photoPath } from "./api.js";

const SIZES = [160, 320, 640, 1280];

export const $ = (id) => document.getElementById(id);

export function element(tag, text, className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = className;
  return node;
}

// Return a button that does something, and submits no form.
export function buildButton(text, onClick, className = "") {
  const button = element("button", text, className);
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

export function setPhoto(img, image, sizes) {
  img.srcset = SIZES.map((size) => `${photoPath(image, size)} ${size}w`).join(", ");
  img.sizes = sizes;
  img.src = photoPath(image, 320);
}
