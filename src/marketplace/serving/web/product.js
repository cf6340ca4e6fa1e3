// A product: its photos, which open larger, and what its listing says.
import { photoPath } from "./api.js";
import { $, element, setPhoto } from "./dom.js";
import { showQuery } from "./query.js";
import { money } from "./texts.js";

export function showProduct(product) {
  document.title = `${product.name} · Similar products`;
  const photos = product.image_ids.map((image) => {
    const button = element("button", "", "zoomable");
    button.type = "button";
    button.setAttribute("aria-label", "Enlarge the photo");
    const img = element("img", "");
    img.alt = product.name;
    setPhoto(img, image, "(max-width: 560px) 44vw, 260px");
    button.append(img);
    button.addEventListener("click", () => zoom(image, product.name));
    return button;
  });
  const lines = [product.description, product.category, product.location, `id ${product.product_id}`];
  showQuery(photos, product.name, lines.filter(Boolean), money(product));
}

function zoom(image, name) {
  const img = $("zoom").querySelector("img");
  img.src = photoPath(image, 1280);
  img.alt = name;
  $("zoom").showModal();
}
