// The dialog "Why this?": both photos, each part's similarity and the words in common.
import { $, element, setPhoto } from "./dom.js";

export function showWhy(why, queryName, product) {
  const photos = [[why.image_id, queryName], [why.similar_image_id, product.name]].map(([image, name]) => {
    const figure = element("figure", "");
    const img = element("img", "");
    img.alt = name;
    setPhoto(img, image, "(max-width: 560px) 40vw, 260px");
    const frame = element("div", "", "heated");
    frame.append(img);
    figure.append(frame, element("figcaption", name));
    return figure;
  });
  $("why").querySelector(".pair").replaceChildren(...photos);
  const percent = (share) => `${Math.round(100 * share)}%`;
  const names = { kind: "Photos", text: "Words", title: "Titles", path: "Categories" };
  const fact = ({ similarity, weight }) => {
    if (!weight) return "do not count";
    return similarity == null ? "missing" : `${percent(similarity)} similar (${percent(weight)} of the score)`;
  };
  const facts = [
    ...Object.entries(names).map(([part, name]) => [name, fact(why.parts[part])]),
    ["Words in common", why.words.join(", ") || "none"],
    ["Score", why.score.toFixed(2)],
  ];
  $("why").querySelector(".summary").textContent = why.summary;
  $("why").querySelector("dl").replaceChildren(...facts.flatMap(([term, value]) => [element("dt", term), element("dd", value)]));
  $("why").querySelector(".heat").hidden = true;
  $("why").showModal();
}

// Highlight what both photos of "Why this?" share: a grid of shares from 0 to 1 over the square of each.
export function showHeat({ image, similar_image, place }) {
  $("why").querySelectorAll(".heated").forEach((frame, n) => frame.append(heatCanvas(n ? similar_image : image)));
  $("why").querySelector(".heat").hidden = false;
  $("why").querySelector(".heat span").textContent = `Highlight what the photos share, most ${place}`;
}

function heatCanvas(rows) {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  canvas.height = rows.length;
  canvas.width = rows[0].length;
  const pixels = rows.flat().flatMap((share) => [255, 70, 0, Math.round(190 * share)]);
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels), canvas.width), 0, 0);
  return canvas;
}
