// The tiles: which one is current, which are selected, and moving among them.
import { note } from "./send.js";

export const tiles = () => [...document.querySelectorAll("#grid > .tile")];
const selected = new Set();
let current = ""; // ids, as tiles are replaced
let anchor = "";
let onMove = () => {};

export const watch = (what) => { onMove = what; };
export const tile = (id = current) => (id ? document.querySelector(`#grid > [data-id="${CSS.escape(id)}"]`) : null);
export const chosen = () => (selected.size ? tiles().filter((one) => selected.has(one.dataset.id)) : [tile()].filter(Boolean));
export const several = () => selected.size > 0;

export function show() {
  for (const one of tiles()) {
    const here = one.dataset.id === current;
    one.classList.toggle("is-current", here);
    one.tabIndex = here ? 0 : -1;
    one.setAttribute("aria-selected", String(selected.has(one.dataset.id) || (here && !selected.size)));
    one.classList.toggle("is-selected", selected.has(one.dataset.id));
    note(one.dataset.photo, one.dataset.seen);
  }
  if (!tile()) tiles()[0]?.setAttribute("tabindex", "0");
  const bar = document.getElementById("bar");
  if (!bar) return;
  bar.hidden = !selected.size;
  document.getElementById("chosen").textContent = `${selected.size} selected`;
}

export function go(id, { focus = true, open = true } = {}) {
  current = id;
  show();
  const here = tile();
  if (!here) return;
  if (focus) here.focus({ preventScroll: true });
  here.scrollIntoView({ block: "nearest" });
  onMove(here, open);
  for (const [act, end] of [["previous", tiles()[0]], ["next", tiles().at(-1)]]) {
    document.querySelector(`.steps [data-act="${act}"]`).disabled = here === end;
  }
}

function columns() {
  const all = tiles();
  const top = all[0]?.offsetTop;
  const second = all.findIndex((one) => one.offsetTop !== top);
  return second < 0 ? all.length : second;
}

export function step(key, extend) {
  const all = tiles();
  if (!all.length) return;
  const here = all.indexOf(tile());
  const by = { ArrowLeft: -1, k: -1, ArrowRight: 1, j: 1, ArrowUp: -columns(), ArrowDown: columns() }[key];
  const to = key === "Home" ? 0 : key === "End" ? all.length - 1 : here < 0 ? 0 : here + by;
  if (to < 0 || to >= all.length) return;
  if (extend) range(all[to].dataset.id);
  else go(all[to].dataset.id);
}

// In a list of doubtful cases: whether a tile waits for a decision.
const results = () => document.getElementById("results");
const queue = () => results().dataset.queue;
const isOpen = (one) => queue() !== "" && one.dataset.open.split(" ").includes(queue());
export const firstOpen = () => tiles().find(isOpen);

// The id of the tile after these, where the work continues; "" if there is none. In a list of
// doubtful cases it is the next one that is open, from the beginning again after the last.
export function next(ids) {
  const all = tiles();
  const last = Math.max(...all.map((one, place) => (ids.has(one.dataset.id) ? place : -1)));
  const others = [...all.slice(last + 1), ...all.slice(0, last)].filter((one) => !ids.has(one.dataset.id));
  const waits = (one) => isOpen(one) && !one.classList.contains("is-saving");
  if (queue()) return others.find(waits)?.dataset.id ?? "";
  return all.slice(last + 1).includes(others[0]) ? others[0].dataset.id : "";
}

// How many of a list of doubtful cases are done, after so many fewer are open; true at the end.
function progress(fewer) {
  if (!queue() || !fewer) return false;
  const { dataset } = results();
  const [done, total] = [Number(dataset.done) + fewer, Number(dataset.total)];
  dataset.done = done;
  for (const place of document.querySelectorAll("[data-progress]")) place.textContent = `${done} of ${total} done`;
  results().querySelector("progress").value = done;
  const finished = results().querySelector(".finished");
  finished.hidden = done < total;
  return done === total;
}

export function toggle(id) {
  if (!selected.delete(id)) selected.add(id);
  anchor = id;
  go(id, { open: false });
}

export function range(id) {
  const all = tiles().map((one) => one.dataset.id);
  if (!all.includes(anchor)) anchor = current || id;
  const [low, high] = [all.indexOf(anchor), all.indexOf(id)].sort((a, b) => a - b);
  selected.clear();
  all.slice(low, high + 1).forEach((one) => selected.add(one));
  go(id, { open: false });
}

export function all() {
  tiles().forEach((one) => selected.add(one.dataset.id));
  show();
}

export function clear() {
  selected.clear();
  anchor = "";
  show();
}

export function reset() {
  current = "";
  clear();
}

// Drops tiles that are already there: a photo's new close-up is shown beside it at once.
export function onlyNew(more) {
  for (const one of more.querySelectorAll(".tile")) if (tile(one.dataset.id)) one.remove();
}

// The server's new tiles in place of the old ones: {photo: {close-up: html}}. Returns whether the
// last one of a list of doubtful cases was decided.
export function replace(photos) {
  let fewer = 0;
  for (const [photo, fresh] of Object.entries(photos)) {
    const old = tiles().filter((one) => one.dataset.photo === photo);
    if (!old.length) continue;
    const made = Object.values(fresh).map((html) => {
      const holder = document.createElement("template");
      holder.innerHTML = html.trim();
      return holder.content.firstElementChild;
    });
    const had = old.some((one) => one.dataset.id === current);
    const focused = old.some((one) => one === document.activeElement);
    fewer += old.filter(isOpen).length - made.filter(isOpen).length;
    old[0].before(...made);
    old.forEach((one) => one.remove());
    if (had && !tile()) current = made[0]?.dataset.id ?? "";
    if (focused) tile()?.focus({ preventScroll: true });
  }
  show();
  return progress(fewer);
}
