// Of many lines in a plot those of the model under the pointer stay, in plots and from any row.
const inPlots = [...document.querySelectorAll(".plots [data-model]")];
const plotted = new Set(inPlots.map((part) => part.dataset.model));
let lit;
function light(model) {
  if (model === lit) return;
  lit = model;
  document.body.classList.toggle("lighting", model !== undefined);
  for (const part of inPlots) part.classList.toggle("lit", part.dataset.model === model);
}
document.addEventListener("mouseover", (event) => {
  const model = event.target.closest("[data-model]")?.dataset.model;
  light(plotted.has(model) ? model : undefined);
});
