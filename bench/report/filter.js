// Keeps what belongs to the models of a name, wherever it stands: everything with data-model.
const filter = document.querySelector(".filter");
const ofModels = document.querySelectorAll("[data-model]");
const baselines = new Set(
  [...document.querySelectorAll("tr.baseline")].map((row) => row.dataset.model));
function keep() {
  const text = filter.elements.name.value.trim().toLowerCase();
  const shown = new Map();
  for (const part of ofModels) {
    const model = part.dataset.model;
    if (!shown.has(model))
      shown.set(model, model.toLowerCase().includes(text)
        && !(filter.elements.baselines.checked && baselines.has(model)));
    part.hidden = !shown.get(model);
  }
  const count = [...shown.values()].filter(Boolean).length;
  filter.querySelector("output").value =
    count < shown.size ? `${count} of ${shown.size} models` : "";
}
filter.addEventListener("input", keep);
filter.addEventListener("submit", (event) => event.preventDefault());
filter.hidden = false;
