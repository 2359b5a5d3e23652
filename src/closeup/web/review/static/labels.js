// The dialog that asks for a label: type part of it, Enter chooses the highlighted one.
const dialog = document.getElementById("relabel");
const input = document.getElementById("label-words");
const list = document.getElementById("label-list");
let answer = () => {};

const plain = (words) => words.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const tidy = (words) => words.trim().replace(/\s+/g, " ");
const known = () => [...list.querySelectorAll("[data-label]:not(.new)")];
const shown = () => [...list.querySelectorAll("[data-label]:not([hidden])")];
const marked = () => list.querySelector('[aria-selected="true"]');

function mark(item) {
  for (const other of list.children) other.setAttribute("aria-selected", String(other === item));
  input.setAttribute("aria-activedescendant", item?.id ?? "");
  item?.scrollIntoView({ block: "nearest" });
}

function option(label, isNew) {
  const item = document.createElement("li");
  item.setAttribute("role", "option");
  item.dataset.label = label;
  item.textContent = isNew ? `New label: ${label}` : label;
  item.classList.toggle("new", isNew);
  item.setAttribute("aria-selected", "false");
  list.append(item);
  return item;
}

function filter() {
  const words = plain(tidy(input.value));
  list.querySelector(".new")?.remove();
  const rank = (item) => plain(item.dataset.label).indexOf(words);
  for (const item of known()) item.hidden = words !== "" && rank(item) < 0;
  const fresh = tidy(input.value);
  if (fresh && !known().some((item) => item.dataset.label === fresh)) option(fresh, true);
  [...list.children].forEach((item, place) => { item.id = `label-${place}`; });
  // Labels that start with the words are preferred to those that contain them.
  mark(shown().find((item) => !item.classList.contains("new") && rank(item) === 0) ?? shown()[0] ?? null);
}

function take(item) {
  if (!item) return;
  const { label } = item.dataset;
  if (item.classList.contains("new")) {
    item.remove();
    option(label, false);
  }
  dialog.close();
  answer(label);
}

export function ask(done) {
  if (!dialog) return;
  answer = done;
  input.value = "";
  filter();
  dialog.showModal();
  input.focus();
}

dialog?.addEventListener("submit", (event) => {
  event.preventDefault();
  take(marked());
});
dialog?.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
  take(event.target.closest("[data-label]"));
});
input?.addEventListener("input", filter);
input?.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "Enter") {
    event.preventDefault();
    take(marked());
  } else if (step) {
    event.preventDefault();
    const items = shown();
    mark(items[(items.indexOf(marked()) + step + items.length) % items.length] ?? null);
  }
});
