// The chosen close-up: its photo with the boxes, what is known of it, and drawing.
import { Editor, apart } from "./draw.js";
import { say } from "./send.js";

const panel = document.getElementById("detail");
let asked = null;
let editor = null;

const find = (what) => panel.querySelector(what);
export const shownId = () => find(".chosen")?.dataset.id ?? "";
export const shownPhoto = () => find(".chosen")?.dataset.photo ?? "";
export const editing = () => editor !== null;
export const isOpen = () => Boolean(panel?.classList.contains("open"));

export async function show(id, open) {
  cancel();
  asked?.abort();
  asked = new AbortController();
  if (open) panel.classList.add("open");
  try {
    const answer = await fetch(`/detail/${encodeURIComponent(id)}`, { signal: asked.signal });
    if (!answer.ok) {
      panel.replaceChildren();
      const words = (await answer.json().catch(() => null))?.error?.message;
      say(words ?? "This close-up cannot be shown.", true);
      return;
    }
    panel.innerHTML = await answer.text();
    const { width, height } = find(".chosen").dataset;
    find(".frame")?.style.setProperty("--ratio", width / height);
    panel.scrollTop = 0;
  } catch (err) {
    if (err.name !== "AbortError") say("The server does not answer. Is `closeup review` still running?", true);
  }
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

export function edit() {
  const frame = find(".frame svg");
  if (!frame || editor) return;
  const { width, height } = find(".chosen").dataset;
  const mine = boxesOf("rect.box:not(.other)");
  const boxes = [...mine, ...boxesOf("rect.box.other")];
  editor = new Editor(frame, Number(width), Number(height), boxes, mine.length - 1);
  find(".drawing").hidden = false;
  find(".acts").hidden = true;
  panel.classList.add("is-drawing");
}

export function cancel() {
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

// One of the detector's boxes in place of the chosen one; null where there is no such.
export function picked(number) {
  const chip = find(`.chip[data-n="${number}"]`);
  if (!chip) return null;
  const box = chip.dataset.box.split(" ").map(Number);
  return [box, ...apart(box, boxesOf("rect.box.other"))];
}

// Marks on the photo the detector's box that a button stands for.
export function point(chip) {
  for (const rect of panel.querySelectorAll("rect.candidate")) {
    rect.classList.toggle("is-pointed", Boolean(chip) && rect.dataset.n === chip.dataset.n);
  }
}
