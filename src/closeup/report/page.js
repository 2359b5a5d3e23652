"use strict";
const folded = (text) => text.normalize("NFKC").toLowerCase(); // whether or not accents are characters of their own
// A field to search long tables by the first column.
for (const table of document.querySelectorAll("table[data-search]")) {
  const field = document.createElement("input"), found = document.createElement("span"), row = document.createElement("p");
  const rows = [...table.tBodies[0].rows];
  field.type = "search";
  field.placeholder = `Search ${rows.length} ${table.dataset.search}`;
  field.setAttribute("aria-label", field.placeholder);
  found.setAttribute("role", "status");
  row.className = "search";
  row.append(field, found);
  table.parentElement.before(row);
  field.addEventListener("input", () => {
    const wanted = folded(field.value.trim());
    for (const one of rows) one.hidden = !folded(one.cells[0].textContent).includes(wanted);
    found.textContent = wanted ? `${rows.filter((one) => !one.hidden).length} found` : "";
  });
}
// Open and close all sections at once.
const sections = [...document.querySelectorAll("details.section")];
const button = document.createElement("button");
button.type = "button";
button.className = "all";
const name = () => { button.textContent = sections.every((one) => one.open) ? "Close all" : "Open all"; };
button.addEventListener("click", () => {
  const open = !sections.every((one) => one.open);
  for (const one of sections) one.open = open;
});
for (const one of sections) one.addEventListener("toggle", name);
name();
document.querySelector(".links").append(button);
// Open what a link leads to where the browser does not do so itself.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  const closed = target && target.closest("details:not([open])");
  if (closed) { closed.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", reveal);
reveal();
