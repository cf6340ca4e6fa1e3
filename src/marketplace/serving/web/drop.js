// A photo that is chosen, dropped or pasted.
import { $ } from "./dom.js";
import { usePhoto } from "./navigation.js";

let depth = 0; // dragenter and dragleave come for every element on the way

$("photo").addEventListener("change", (event) => {
  usePhoto(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
addEventListener("dragenter", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  depth += 1;
  $("drop").hidden = false;
});
addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1); // dragged text leaves as well
  $("drop").hidden = depth === 0;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  $("drop").hidden = true;
  usePhoto(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => usePhoto([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
