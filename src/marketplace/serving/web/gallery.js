// The photos of a product in a row, which is swiped or moved by arrow keys; a click enlarges them.
import { $, buildButton, element, setPhoto } from "./dom.js";

const zoom = $("zoom");
const slides = zoom.querySelector(".slides");
const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

export function buildGallery(images, name) {
  const buttons = images.map((image, place) => {
    const button = buildButton("", () => enlarge(images, place, name), "zoomable");
    button.tabIndex = place ? -1 : 0; // the row is one stop of the Tab key
    button.setAttribute("aria-label", `Enlarge photo ${place + 1} of ${images.length}`);
    button.append(buildPhoto(image, name, "(max-width: 560px) 50vw, 260px"));
    button.addEventListener("keydown", (event) => moveFocus(event, buttons, place));
    return button;
  });
  return buttons;
}

function buildPhoto(image, name, sizes) {
  const img = element("img", "");
  img.alt = name;
  img.loading = "lazy";
  setPhoto(img, image, sizes);
  return img;
}

function moveFocus(event, buttons, place) {
  const next = buttons[place + STEPS[event.key]];
  if (!next) return;
  event.preventDefault();
  buttons.forEach((button) => (button.tabIndex = button === next ? 0 : -1));
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest", inline: "center" });
}

function enlarge(images, place, name) {
  slides.replaceChildren(...images.map((image) => buildPhoto(image, name, "100vw")));
  zoom.querySelectorAll(".turn").forEach((button) => (button.hidden = images.length < 2));
  zoom.showModal();
  slides.focus();
  slides.scrollTo({ left: place * slides.clientWidth, behavior: "instant" });
}

function turn(step) {
  const place = Math.round(slides.scrollLeft / slides.clientWidth);
  slides.scrollTo({ left: (place + step) * slides.clientWidth });
}

zoom.querySelectorAll(".turn").forEach((button) => button.addEventListener("click", () => turn(Number(button.value))));
slides.addEventListener("click", () => zoom.close());
zoom.addEventListener("keydown", (event) => {
  if (!STEPS[event.key]) return;
  event.preventDefault();
  turn(STEPS[event.key]);
});
