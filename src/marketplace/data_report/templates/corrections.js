// Collects corrections of products, as lines of a CSV file. A page on a disk cannot write files: the lines are copied or
// downloaded. The browser keeps them until then, if it keeps anything for such pages.
(() => {
  const { columns, drop, lines } = JSON.parse(document.getElementById("present").textContent);
  const paths = new Set([...document.querySelectorAll("#paths option")].map((option) => option.value));
  const bar = document.getElementById("corrections");
  const key = `corrections of ${location.pathname}`;
  const chosen = new Map(); // product id -> correction
  const cards = new Map(); // product id -> its elements: a product may be in several findings
  const FORMULA = /^'*\s*[=+\-@＝＋－＠]/; // as in a spreadsheet, where the apostrophe is not shown

  const field = (text) => {
    const safe = FORMULA.test(text) ? `'${text}` : text;
    return /[",;\t\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const csv = (rows) => rows.map((row) => row.map(field).join(",") + "\n").join("");

  function button(label, run) {
    const node = document.createElement("button");
    node.type = "button";
    node.textContent = label;
    node.addEventListener("click", run);
    return node;
  }

  function choice(id, label, correction) {
    const node = button(label, () => choose(id, chosen.get(id) === correction ? null : correction));
    node.dataset.correction = correction;
    return node;
  }

  function otherCategory(id, actions) {
    const input = document.createElement("input");
    input.setAttribute("list", "paths");
    input.placeholder = "Category";
    input.setAttribute("aria-label", `Right category of ${id}`);
    input.addEventListener("change", () => {
      const text = input.value.trim();
      input.setCustomValidity(!text || paths.has(text) ? "" : "Choose a category of the list.");
      if (input.reportValidity()) choose(id, text || null);
    });
    actions.append(input);
    input.focus();
  }

  function addActions(card) {
    const { id, category, suggested } = card.dataset;
    const actions = document.createElement("div");
    actions.className = "actions";
    if (suggested) actions.append(choice(id, suggested, suggested), choice(id, "Right as it is", category));
    actions.append(choice(id, "Drop", drop));
    const other = button("Other…", () => {
      other.remove();
      otherCategory(id, actions);
    });
    actions.append(other);
    card.append(actions);
    cards.set(id, [...(cards.get(id) || []), card]);
  }

  function choose(id, correction) {
    if (correction === null) chosen.delete(id);
    else chosen.set(id, correction);
    show();
  }

  function show() {
    for (const [id, nodes] of cards) {
      for (const node of nodes.flatMap((card) => [...card.querySelectorAll("[data-correction]")])) {
        node.setAttribute("aria-pressed", chosen.get(id) === node.dataset.correction);
      }
    }
    const n = chosen.size;
    bar.hidden = n === 0;
    bar.querySelector("b").textContent = `${n} correction${n === 1 ? "" : "s"}.`;
    bar.querySelector("textarea").value = csv([...chosen]);
    bar.querySelector("[role=status]").textContent = "";
    keep();
  }

  function keep() {
    try {
      localStorage.setItem(key, JSON.stringify([...chosen]));
    } catch {
      // This browser keeps nothing for pages on a disk.
    }
  }

  function restore() {
    try {
      for (const [id, correction] of JSON.parse(localStorage.getItem(key) || "[]")) {
        if (cards.has(id)) chosen.set(id, correction); // others have been applied
      }
    } catch {
      // As above, or something else wrote there.
    }
  }

  function tell(text) {
    bar.querySelector("[role=status]").textContent = text;
  }

  async function copy() {
    const area = bar.querySelector("textarea");
    try {
      await navigator.clipboard.writeText(area.value);
      tell("Copied.");
    } catch {
      area.select();
      tell("Press Ctrl+C to copy the selected lines.");
    }
  }

  function download() {
    const others = lines.filter(([id]) => !chosen.has(id));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv([columns, ...others, ...chosen])], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    URL.revokeObjectURL(link.href);
    tell("Downloaded.");
  }

  document.querySelectorAll("[data-id]").forEach(addActions);
  bar.querySelector("[name=copy]").addEventListener("click", copy);
  bar.querySelector("[name=download]").addEventListener("click", download);
  bar.querySelector("[name=clear]").addEventListener("click", () => {
    chosen.clear();
    show();
  });
  restore();
  show();
})();
