// What the address asks of the server. Each question returns a function that shows its answer.
import { ask, productPath, tell } from "./api.js";
import { showChips } from "./chips.js";
import { $ } from "./dom.js";
import * as filters from "./filters.js";
import { address, changed, enter, entry, photoOfEntry, readOffer } from "./history.js";
import { showLostPhoto, showPhoto } from "./photo.js";
import { showProduct } from "./product.js";
import { showCatalogue, showSimilar } from "./results.js";
import { showHeat, showWhy } from "./why.js";

const PAGE = 48; // products
const MOST_THUMBS = 9; // of a kind that a question takes
export const MOST_SIMILAR = 96;
// From looks alone to words alone; the one in the middle is the weights in params.yaml.
const WEIGHTS = ["kind=1,text=0,title=0,path=0", "kind=2", "", "kind=0.1", "kind=0"];
const form = $("search");

// The parameters of a question for similar products.
function question() {
  const { but, balance, order, ...set } = filters.values(); // the order is for what is shown
  return { ...set, words: but, weights: balance ? WEIGHTS[balance] : "", k: entry.similar };
}

// How a list of similar products is shown: its order, its filters, and whether there is more.
function listing(ranked, onFilter) {
  const more = ranked.length === entry.similar && entry.similar < MOST_SIMILAR;
  return { order: form.order.value, more, set: filters.current(), offer: readOffer(), onFilter };
}

// Ask what the address asks: with `?product=ID`, for a product and similar ones; with `?photo=NAME`, for products similar
// to a photo, which does not fit in an address; with `?judge`, for products to judge; with `?view=map`, for the map; with
// `?view=changed` and `?view=compared`, for the lists of two revisions; otherwise for the catalogue, by words and filters.
export async function answer(offset, { comparing, onFilter, onNext, onProblem, onEdit }) {
  const query = address();
  if (query.has("judge")) return judging();
  if (query.get("view") === "map") return catalogueMap(query.get("product"), onFilter);
  if (query.get("view") === "changed") return listChanges(offset, onFilter);
  if (query.get("view") === "compared") return compareLists(query.get("product"), onFilter, onNext);
  if (query.get("product")) return product(query.get("product"), { comparing, onFilter, onProblem, onEdit });
  if (!query.has("photo")) return catalogue(offset, onFilter);
  const file = photoOfEntry();
  return file ? photo(file, { onFilter, onEdit }) : () => showLostPhoto(query.get("photo"));
}

async function catalogue(offset, onFilter) {
  const words = address().get("words") || "";
  const answer = await ask("api/products", { words, ...filters.values(), offset, limit: PAGE });
  return () => showCatalogue(answer, { words, offset, set: filters.current(), onFilter });
}

// The thumbs on a product's recommendations; null if they cannot be read, which is no reason to show nothing.
const thumbsOn = (path) => ask(`${path}/feedback`).catch(() => null);

async function product(id, { comparing, onFilter, onProblem, onEdit }) {
  const path = productPath(id);
  const examples = { like: [id, ...listed("more")], unlike: listed("less") };
  const requests = [ask(path), ask("api/similar", { ...question(), ...examples }), thumbsOn(path)];
  const [shown, found, thumbs] = await Promise.all(requests);
  const pair = (other) => `${path}/similar/${encodeURIComponent(other.product_id)}`;
  const judging = {
    thumbs,
    onWhy: (other) => explain(pair(other), shown.name, other, onProblem),
    onThumb: async (other, good) => {
      await tell(`${pair(other)}/feedback`, { good });
      showThumbs({ ...thumbs, [other.product_id]: good }, onEdit);
    },
  };
  return () => {
    showProduct(shown, comparing);
    showSimilar(found, { ...listing(found.similar, onFilter), judging });
    showThumbs(thumbs || {}, onEdit);
  };
}

// The ids in a parameter of the address.
const listed = (name) => (address().get(name) || "").split(",").filter(Boolean).map(decodeURIComponent);

// Show the button that asks for more like the products with a thumb up, and less like those with a thumb down.
function showThumbs(thumbs, onEdit) {
  const withThumb = (good) => Object.keys(thumbs).filter((id) => thumbs[id] === good).slice(0, MOST_THUMBS);
  const join = (ids) => ids.map(encodeURIComponent).join(",");
  const isUsed = address().has("more") || address().has("less");
  const button = $("thumbs");
  button.hidden = !isUsed && withThumb(true).length + withThumb(false).length === 0;
  button.setAttribute("aria-pressed", String(isUsed));
  button.onclick = () => onEdit(isUsed ? { more: "", less: "" } : { more: join(withThumb(true)), less: join(withThumb(false)) });
}

// Photos and words come first: the network takes a moment to find what the photos share.
let explained; // the pair in the dialog
async function explain(pair, name, other, onProblem) {
  explained = pair;
  try {
    showWhy(await ask(pair, { weights: question().weights }), name, other);
    const heat = await ask(`${pair}/heat`);
    if (pair === explained) showHeat(heat);
  } catch (error) {
    $("why").close();
    onProblem(error);
  }
}

async function photo(file, { onFilter, onEdit }) {
  const body = new FormData();
  body.append("photo", file);
  const part = { turn: address().get("turn"), crop: address().get("crop") };
  const found = await ask("api/similar", { ...question(), ...part }, { method: "POST", body });
  return () => {
    showPhoto(file, found.visible, part, onEdit);
    showSimilar(found, listing(found.similar, onFilter));
    $("thumbs").hidden = true;
  };
}

async function catalogueMap(target, onFilter) {
  const requests = [import("./map.js"), ask("api/map", filters.values()), ask("api/map/legend")];
  const [{ showMap }, places, key] = await Promise.all(requests);
  return () => {
    showMap(places, key, target);
    showChips({ set: filters.current(), onFilter });
  };
}

async function listChanges(offset, onFilter) {
  const requests = [import("./compare/changed.js"), ask("api/compared/products", { ...filters.values(), offset, limit: PAGE })];
  const [{ showChanged }, answer] = await Promise.all(requests);
  return () => {
    showChanged(answer, offset);
    showChips({ set: filters.current(), onFilter });
  };
}

// Return the id of the next product whose two lists are to be judged; null if there is none.
export const nextToJudge = async (after) => (await ask("api/compared/next", { after })).product_id;

async function compareLists(id, onFilter, onNext) {
  const whose = id || (await nextToJudge());
  if (!whose) return listChanges(0, onFilter);
  const path = productPath(whose);
  const requests = [import("./compare/lists.js"), ask(path), ask(`${path}/compared`)];
  const [{ showLists }, shown, lists] = await Promise.all(requests);
  return () => {
    if (!id) enter(changed({ product: whose }), { replace: true });
    showLists(shown, lists, () => onNext(whose));
  };
}

async function judging() {
  const { startJudging } = await import("./judge.js");
  return startJudging();
}
