// Keeps what belongs to the models of some names, wherever it stands: everything with data-model.
const filter = document.querySelector(".filter");
const ofModels = document.querySelectorAll("[data-model]");
const baselines = new Set(
  [...document.querySelectorAll("tr.baseline")].map((row) => row.dataset.model));
function keep() {
  const words = filter.elements.name.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const shown = new Map();
  for (const part of ofModels) {
    const model = part.dataset.model;
    if (!shown.has(model)) {
      const isNamed = !words.length || words.some((word) => model.toLowerCase().includes(word));
      shown.set(model, isNamed && !(filter.elements.baselines.checked && baselines.has(model)));
    }
    part.toggleAttribute("hidden", !shown.get(model));
  }
  const count = [...shown.values()].filter(Boolean).length;
  filter.querySelector("output").value =
    count < shown.size ? `${count} of ${shown.size} models` : "";
}
filter.addEventListener("input", keep);
filter.addEventListener("submit", (event) => event.preventDefault());
filter.hidden = false;
