// The selected close-up: its photo with the boxes, what is known about it, and drawing.
import { Editor, apart } from "./draw.js";
import { say } from "./send.js";

const panel = document.getElementById("detail");
const shown = document.getElementById("shown");
let coming = null; // what is loading: the close-up's id, how to abort it, whether to draw afterwards
let editor = null;

const find = (what) => panel.querySelector(what);
export const shownId = () => find(".chosen")?.dataset.id ?? "";
export const shownPhoto = () => find(".chosen")?.dataset.photo ?? "";
export const editing = () => editor !== null;
export const isOpen = () => Boolean(panel?.classList.contains("open"));

// Until it has loaded, the previous close-up is still shown, and its boxes cannot be used. What is
// shown already is loaded again only if it is to be `anew`.
export async function show(id, open, anew = true) {
  if (!anew && !coming && shownId() === id) {
    panel.classList.toggle("open", open || isOpen());
    return;
  }
  const draw = coming?.id === id && coming.draw;
  cancel();
  coming?.stop.abort();
  const mine = { id, draw, stop: new AbortController() };
  coming = mine;
  if (open) panel.classList.add("open");
  try {
    const answer = await fetch(`/detail/${encodeURIComponent(id)}`, { signal: mine.stop.signal });
    if (!answer.ok) {
      const words = (await answer.json().catch(() => null))?.error?.message;
      if (coming === mine) empty(words ?? "This close-up cannot be shown.");
      return;
    }
    shown.innerHTML = await answer.text();
    find(".steps").hidden = false;
    const { width, height } = find(".chosen").dataset;
    find(".frame")?.style.setProperty("--ratio", width / height);
    panel.scrollTop = 0;
    coming = null;
    if (mine.draw) edit();
  } catch (err) {
    if (err.name !== "AbortError") empty("The server does not answer. Is `closeup review` still running?");
  } finally {
    if (coming === mine) coming = null;
  }
}

function empty(words) {
  close();
  shown.replaceChildren();
  find(".steps").hidden = true;
  say(words, { failed: true });
}

export function close() {
  cancel();
  panel.classList.remove("open");
}

function boxesOf(selector) {
  return [...panel.querySelectorAll(selector)].map((rect) => {
    const { x, y, width, height } = Object.fromEntries(
      ["x", "y", "width", "height"].map((name) => [name, Number(rect.getAttribute(name))]));
    return [x, y, x + width, y + height];
  });
}

// The position of the selected box among the photo's, -1 for none. Close-ups are named by it.
const place = () => [...panel.querySelectorAll("rect.box")].findIndex((rect) => !rect.matches(".other"));

export function edit() {
  if (coming) {
    coming.draw = true;
    return;
  }
  const frame = find(".frame svg");
  if (!frame || editor) return;
  const { width, height } = find(".chosen").dataset;
  editor = new Editor(frame, Number(width), Number(height), boxesOf("rect.box"), place());
  find(".drawing").hidden = false;
  find(".acts").hidden = true;
  panel.classList.add("is-drawing");
}

export function cancel() {
  if (coming) coming.draw = false;
  if (!editor) return;
  editor.end();
  editor = null;
  panel.classList.remove("is-drawing");
  const drawing = find(".drawing");
  if (drawing) drawing.hidden = true;
  if (find(".acts")) find(".acts").hidden = false;
}

export const add = (byKeys) => editor?.add(byKeys);
export const remove = () => editor?.remove();
export const key = (event) => Boolean(editor?.key(event));

// What was drawn: the boxes of the photo, in its pixels.
export function drawn() {
  const boxes = editor ? editor.boxes.map((box) => [...box]) : [];
  cancel();
  return boxes;
}

// The photo's boxes with a box of the detector in place of the selected one; null if there is none.
export function picked(number) {
  if (coming) {
    say("The photo is still loading; choose the box once it is shown.");
    return null;
  }
  const chip = find(`.chip[data-n="${number}"]`);
  if (!chip) return null;
  const box = chip.dataset.box.split(" ").map(Number);
  const boxes = boxesOf("rect.box");
  const here = place() < 0 ? boxes.length : place();
  return [...apart(box, boxes.slice(0, here)), box, ...apart(box, boxes.slice(here + 1))];
}

// Highlights on the photo the detector's box that a button stands for.
export function point(chip) {
  for (const rect of panel.querySelectorAll("rect.candidate")) {
    rect.classList.toggle("is-pointed", Boolean(chip) && rect.dataset.n === chip.dataset.n);
  }
}
