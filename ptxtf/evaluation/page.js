"use strict";

/* A table is sorted by the column whose heading is pressed; pressed again, the other way round. */
for (const heading of document.querySelectorAll("th")) {
  heading.querySelector("button").addEventListener("click", () => sort(heading));
}

function sort(heading) {
  const table = heading.closest("table");
  const body = table.tBodies[0];
  const column = heading.cellIndex;
  const isNumber = heading.classList.contains("number");
  const isRising = heading.getAttribute("aria-sort") !== "ascending";
  const key = (row) => row.cells[column].textContent;
  const compare = isNumber
    ? (a, b) => number(key(a), isRising) - number(key(b), isRising)
    : (a, b) => key(a).localeCompare(key(b), undefined, { numeric: true });
  const rows = [...body.rows].sort((a, b) => (isRising ? compare(a, b) : compare(b, a)));
  body.append(...rows);
  for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", isRising ? "ascending" : "descending");
}

/* What is no number stands last, whichever way. */
function number(text, isRising) {
  const value = parseFloat(text);
  return Number.isNaN(value) ? (isRising ? Number.MAX_VALUE : -Number.MAX_VALUE) : value;
}

const gallery = document.querySelector(".gallery");
const slider = document.querySelector("#opacity");
slider?.addEventListener("input", () => gallery.style.setProperty("--opacity", slider.value / 100));
for (const box of document.querySelectorAll(".controls input[type=checkbox]")) {
  box.addEventListener("change", () => gallery.classList.toggle(`no-${box.value}`, !box.checked));
}
