// What the address asks of the server. Each question returns a function that shows its answer.
import { ask, productPath, tell } from "./api.js";
import { showCompared } from "./compared.js";
import { $ } from "./dom.js";
import * as filters from "./filters.js";
import { address, entry, photoOfEntry } from "./history.js";
import { showLostPhoto, showPhoto } from "./photo.js";
import { showProduct } from "./product.js";
import { showCatalogue, showSimilar } from "./results.js";
import { showHeat, showWhy } from "./why.js";

const PAGE = 48; // products
export const MOST_SIMILAR = 96;
const form = $("search");
const withoutOrder = () => ({ ...filters.values(), order: "" });
const mayHaveMore = (ranked) => ranked.length === entry.similar && entry.similar < MOST_SIMILAR;

// Ask what the address asks: with `?product=ID`, for a product and similar ones; with `?photo=NAME`, for products similar
// to a photo, which does not fit in an address; with `?judge`, for products to judge; otherwise for the catalogue, by
// words and filters.
export async function answer(offset, { comparing, onCategory, onProduct, onProblem }) {
  const query = address();
  if (query.has("judge")) return judging();
  if (query.get("view") === "map") return catalogueMap(onProduct);
  if (query.get("product")) return product(query.get("product"), comparing, onProblem);
  if (!query.has("photo")) return catalogue(offset, onCategory);
  const file = photoOfEntry();
  return file ? photo(file) : () => showLostPhoto(query.get("photo"));
}

async function catalogue(offset, onCategory) {
  const words = address().get("words") || "";
  const answer = await ask("api/products", { words, ...filters.values(), offset, limit: PAGE });
  return () => showCatalogue(answer, { words, category: filters.values().category, offset, onCategory });
}

// The thumbs on a product's recommendations; null if they cannot be read, which is no reason to show nothing.
const thumbsOn = (path) => ask(`${path}/feedback`).catch(() => null);

async function product(id, comparing, onProblem) {
  const path = productPath(id);
  const requests = [ask(path), ask(`${path}/similar`, { k: entry.similar, ...withoutOrder() }), thumbsOn(path)];
  if (comparing) requests.push(ask(`${path}/compared`));
  const [shown, ranked, thumbs, lists] = await Promise.all(requests);
  const pair = (other) => `${path}/similar/${encodeURIComponent(other.product_id)}`;
  const judging = {
    thumbs,
    onWhy: (other) => explain(pair(other), shown.name, other, onProblem),
    onThumb: (other, good) => tell(`${pair(other)}/feedback`, { good }),
  };
  return () => {
    showProduct(shown);
    showSimilar(ranked, { order: form.order.value, more: mayHaveMore(ranked), judging });
    showCompared(lists || null);
  };
}

// Photos and words come first: the network takes a moment to find what the photos share.
let explained; // the pair in the dialog
async function explain(pair, name, other, onProblem) {
  explained = pair;
  try {
    showWhy(await ask(pair, { weights: form.weights.value }), name, other);
    const heat = await ask(`${pair}/heat`);
    if (pair === explained) showHeat(heat);
  } catch (error) {
    $("why").close();
    onProblem(error);
  }
}

async function photo(file) {
  const body = new FormData();
  body.append("photo", file);
  const found = await ask("api/similar", { k: entry.similar, ...withoutOrder() }, { method: "POST", body });
  const ranked = [...found.same, ...found.similar];
  return () => {
    showPhoto(file);
    showSimilar(ranked, { order: form.order.value, more: mayHaveMore(ranked) });
  };
}

async function catalogueMap(onProduct) {
  const [{ showMap }, places] = await Promise.all([import("./map.js"), ask("api/map", withoutOrder())]);
  return () => showMap(places, onProduct);
}

async function judging() {
  const { startJudging } = await import("./judge.js");
  return startJudging();
}
