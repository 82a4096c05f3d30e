// Click a heading to sort its table, the better end first; click again to turn the order.
// Rows without a figure stay last.
function sortBy(heading) {
  const column = heading.cellIndex;
  const first = heading.dataset.better === "higher" ? "descending" : "ascending";
  const other = first === "descending" ? "ascending" : "descending";
  const order = heading.getAttribute("aria-sort") === first ? other : first;
  const turned = order === "descending";
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
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
  heading.addEventListener("click", (event) => event.target.closest("a") || sortBy(heading));

// Puts what stands hidden behind a button into the clipboard.
async function copy(button) {
  const area = button.nextElementSibling;
  try {
    await navigator.clipboard.writeText(area.value);
  } catch {  // not allowed from a file in some browsers
    area.hidden = false;
    area.select();
    document.execCommand("copy");
    area.hidden = true;
  }
  button.parentNode.querySelector("output").value = `${button.textContent} copied`;
}
for (const copies of document.querySelectorAll(".copies")) {
  copies.hidden = false;
  for (const button of copies.querySelectorAll("button"))
    button.addEventListener("click", () => copy(button));
}
