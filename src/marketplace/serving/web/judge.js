// Products to judge in a row: a product, one candidate after another, and the keys 0, 1 and 2 for their grades.
import { ask, photoPath, productPath, tell } from "./api.js";
import { $, element, setPhoto } from "./dom.js";
import { hideParts } from "./results.js";
import { money } from "./texts.js";

const buttons = [...$("judge").querySelectorAll(".grades button")];
const stepBack = $("step-back");
let steps = []; // a step for each candidate that this page has loaded: { task, number, candidate }
let at = 0; // the step that is shown; all steps are done if there is none
let busy = false; // with storing a grade: a key in the meantime would grade a candidate that nobody has seen

// Load the next product and return a function that shows it.
export async function startJudging() {
  steps = [];
  await loadTask();
  return showStep;
}

async function loadTask() {
  const task = await ask("api/judging");
  at = steps.length;
  if (!task) return;
  steps.push(...task.candidates.map((candidate, place) => ({ task, number: place + 1, candidate })));
  at += task.candidates.findIndex(({ grade }) => grade == null); // a product that is judged in part goes on there
}

function showStep() {
  hideParts();
  $("results").replaceChildren();
  document.title = "Judge · Similar products";
  const step = steps[at];
  $("judge").hidden = !step;
  $("heading").textContent = step ? "How similar are these?" : "Every product is judged";
  $("status").textContent = step ? progress(step) : "To add the grades to data/judgements.csv: marketplace feedback --export";
  if (!step) return;
  $("judge").querySelector(".judged").replaceChildren(side("Product", step.task.product), side("Candidate", step.candidate.product));
  buttons.forEach((button) => button.setAttribute("aria-pressed", String(Number(button.value) === step.candidate.grade)));
  stepBack.disabled = at === 0;
  if (steps[at + 1]) new Image().src = photoPath(steps[at + 1].candidate.product.image_ids[0], 640);
}

const progress = ({ task, number }) => `Candidate ${number} of ${task.candidates.length}, product ${task.place}`;

function side(role, product) {
  const part = element("article", "");
  const photos = element("div", "", "photos");
  photos.append(
    ...product.image_ids.slice(0, 2).map((image) => {
      const img = element("img", "");
      img.alt = "";
      setPhoto(img, image, "(max-width: 560px) 44vw, 300px");
      return img;
    }),
  );
  const name = element("h2", product.name);
  part.append(photos, element("p", role, "role"), name, element("p", money(product), "cost"), element("p", product.category));
  return part;
}

async function giveGrade(value) {
  const step = steps[at];
  if (busy || !step) return;
  busy = true;
  try {
    const pair = `${productPath(step.task.product.product_id)}/similar/${encodeURIComponent(step.candidate.product.product_id)}`;
    await tell(`${pair}/judgement`, { grade: value });
    step.candidate.grade = value;
    if (at + 1 < steps.length) at += 1;
    else await loadTask();
    $("problem").hidden = true;
    showStep();
  } catch (error) {
    $("problem").textContent = error.message; // the candidate stays, to be graded again
    $("problem").hidden = false;
  } finally {
    busy = false;
  }
}

function goBack() {
  if (busy || at === 0) return;
  at -= 1;
  showStep();
}

buttons.forEach((button) => button.addEventListener("click", () => giveGrade(Number(button.value))));
stepBack.addEventListener("click", goBack);
document.addEventListener("keydown", (event) => {
  if ($("judge").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (["0", "1", "2"].includes(event.key)) giveGrade(Number(event.key));
  else if (event.key === "Backspace") goBack();
  else return;
  event.preventDefault();
});
