// Click a heading to sort its table; click again to turn the order. Rows without a figure stay last.
function sortBy(heading) {
  const column = heading.cellIndex;
  const turned = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", turned ? "descending" : "ascending");
  const value = (row) => {
    const cell = row.cells[column];
    const text = cell?.dataset.value ?? (heading.classList.contains("figure") ? "" : cell?.innerText);
    return text === "" || isNaN(text) ? text : Number(text);
  };
  const missing = (item) => item === undefined || item === "";
  const compare = (a, b) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(b);
    return turned ? -order : order;
  };
  const body = heading.closest("table").tBodies[0];
  body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
}
for (const heading of document.querySelectorAll(".results thead th"))
  heading.querySelector("button").addEventListener("click", () => sortBy(heading));
