// What keys, clicks and touches do.
import * as grid from "./grid.js";
import { ask } from "./labels.js";
import * as panel from "./panel.js";
import { decide, order, overtaken, say, undo } from "./send.js";
import "./label.js";
import "./pairs.js";

const WORDS = { accept: "Accepted", reject: "Rejected", relabel: "Relabelled", not_found: "Marked as no object",
  boxes: "Box saved" };
const help = document.getElementById("help");
const keysOn = document.getElementById("keys-on");
const hasGrid = () => Boolean(document.getElementById("filters"));
let selecting = false;

function store(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null; // a browser that keeps nothing
  }
}

function settle(answer, words, numbers = []) {
  if (!answer) return;
  const finished = grid.replace(answer.photos);
  if (answer.overtaken.length) overtaken(answer.overtaken);
  else if (words) say(words, { numbers });
  if (finished) {
    panel.close(); // on a phone it covers what there is to do next
    document.querySelector(".finished").scrollIntoView({ block: "center" });
  }
  if (panel.shownPhoto() in answer.photos && !panel.editing()) {
    const here = grid.tile();
    if (here) panel.show(here.dataset.id, false);
  }
}

async function send(kind, values, tiles) {
  if (!tiles.length) return;
  const ids = new Set(tiles.map((one) => one.dataset.id));
  const photos = tiles.map((one) => one.dataset.photo);
  const what = { accept: "crops", reject: "crops", relabel: "crops", not_found: "photos" }[kind];
  const named = { crops: [...ids], photos: [...new Set(photos)] }[what];
  const following = grid.next(ids);
  tiles.forEach((one) => one.classList.add("is-saving"));
  grid.clear();
  if (following) grid.go(following, { open: panel.isOpen() });
  const answer = await decide({ kind, ...(what ? { [what]: named } : {}), ...values }, photos);
  document.querySelectorAll(".is-saving").forEach((one) => ids.has(one.dataset.id) && one.classList.remove("is-saving"));
  const label = values.label ? ` as ${values.label}` : "";
  settle(answer, `${WORDS[kind]}${label}${tiles.length > 1 ? `: ${tiles.length}` : ""}.`, answer?.numbers);
}

async function takeBack(numbers) {
  const answer = await undo(numbers);
  if (!answer) return;
  if (!hasGrid()) {
    if (answer.numbers.length) location.reload();
    else say("You have no decision to undo.");
    return;
  }
  settle(answer, answer.numbers.length ? "Undone." : "You have no decision to undo.");
  const back = grid.tiles().find((one) => one.dataset.photo in answer.photos);
  if (back) grid.go(back.dataset.id, { open: panel.isOpen() });
}

// For the photo that the panel shows, even if another tile has become the current one.
function saveBoxes(boxes) {
  const photo = panel.shownPhoto();
  const here = grid.tile(panel.shownId()) ?? grid.tiles().find((one) => one.dataset.photo === photo);
  if (!here) {
    say("Not saved: this photo is no longer in the list. Show it again, then draw.", { failed: true });
    return;
  }
  if (boxes.length) send("boxes", { photo, boxes }, [here]);
  else send("not_found", {}, [here]);
}

const ACTS = {
  accept: () => send("accept", {}, grid.chosen()),
  reject: () => send("reject", {}, grid.chosen()),
  not_found: () => send("not_found", {}, grid.chosen()),
  relabel: () => {
    const tiles = grid.chosen();
    if (tiles.length) ask((label) => send("relabel", { label }, tiles));
  },
  suggest: () => {
    const here = grid.tile();
    if (here?.dataset.suggested) send("relabel", { label: here.dataset.suggested }, [here]);
  },
  undo: () => takeBack([]),
  "take-back": (button) => takeBack(button.dataset.numbers.split(" ").map(Number)),
  previous: () => grid.step("k"),
  next: () => grid.step("j"),
  edit: () => panel.edit(),
  save: () => panel.editing() && saveBoxes(panel.drawn()),
  cancel: () => panel.cancel(),
  add: (button, event) => panel.add(event?.detail === 0), // 0: the button was pressed by a key
  remove: () => panel.remove(),
  pick: (button) => pick(button.dataset.n),
  close: () => close(),
  clear: () => select(false),
  select: () => select(!selecting),
  filters: (button) => {
    const open = document.getElementById("filters").classList.toggle("open");
    button.setAttribute("aria-expanded", String(open));
  },
  "no-label": () => document.getElementById("relabel").close(),
  help: () => help.showModal(),
  train: () => order("/train"),
  "stop-training": () => order("/train/stop"),
};

// On a touch screen: whether a tap selects a tile instead of showing it.
function select(on) {
  selecting = on;
  document.querySelector('[data-act="select"]')?.setAttribute("aria-pressed", String(on));
  if (!on) grid.clear();
}

function pick(number) {
  const boxes = panel.picked(number);
  if (boxes) saveBoxes(boxes);
}

function close() {
  panel.close();
  grid.tile()?.focus({ preventScroll: true });
}

document.addEventListener("click", (event) => {
  if (event.target === help) help.close();
  const button = event.target.closest("[data-act]");
  if (button && button.dataset.act in ACTS && !button.closest(".group")) {
    ACTS[button.dataset.act](button, event);
    return;
  }
  const tile = event.target.closest("#grid > .tile");
  if (!tile) return;
  if (event.shiftKey) grid.range(tile.dataset.id);
  else if (event.ctrlKey || event.metaKey || selecting) grid.toggle(tile.dataset.id);
  else {
    grid.clear();
    grid.go(tile.dataset.id);
  }
});

const KEYS = { a: "accept", r: "reject", l: "relabel", s: "suggest", n: "not_found", u: "undo", e: "edit", "?": "help" };
const MOVES = new Set(["j", "k", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

function typing(target) {
  return target.matches("input:not([type=checkbox]), select, textarea") || document.querySelector("dialog[open]");
}

function escape() {
  if (panel.editing()) panel.cancel();
  else if (grid.several()) grid.clear();
  else close();
}

function drawingKey(event) {
  if (event.key === "Enter" && !event.target.closest("button")) ACTS.save();
  else if (event.key === "Escape") panel.cancel();
  else if (!panel.key(event)) return;
  event.preventDefault();
}

document.addEventListener("keydown", (event) => {
  if (typing(event.target) || event.altKey || event.metaKey) return;
  if (panel.editing()) {
    drawingKey(event);
    return;
  }
  const inGrid = hasGrid() && !event.target.closest("nav, .top, #bar");
  if (event.ctrlKey) {
    if (event.key !== "a" || !inGrid) return;
    grid.all();
  } else if (event.key === "Escape" && hasGrid()) escape();
  else if (event.key === "?") help.showModal();
  else if (!keysOn.checked) return;
  else if (event.key === "u") ACTS.undo();
  else if (!inGrid) return;
  else if (MOVES.has(event.key)) {
    if (event.key.length > 1 && event.target.closest("#detail")) return; // the panel scrolls
    grid.step(event.key, event.shiftKey);
  } else if (event.key === "x" && grid.tile()) grid.toggle(grid.tile().dataset.id);
  else if (/^[1-9]$/.test(event.key)) pick(event.key);
  else if ((event.key === "Enter" || event.key === " ") && event.target.closest(".tile")) {
    grid.go(event.target.closest(".tile").dataset.id);
  } else if (event.key in KEYS) ACTS[KEYS[event.key]]();
  else return;
  event.preventDefault();
});

document.addEventListener("pointerover", (event) => {
  if (event.target.closest("#detail") && !panel.editing()) panel.point(event.target.closest(".chip"));
});
document.addEventListener("focusin", (event) => {
  if (event.target.closest("#detail")) panel.point(event.target.closest(".chip"));
});

// The close-up to begin with: the linked one, the first that is open, or the first of all. On a phone
// the first two are opened over the list.
function begin(open) {
  const at = new URLSearchParams(location.search).get("at");
  const linked = at && grid.tiles().find((one) => [one.dataset.id, one.dataset.photo].includes(at));
  const doubtful = linked || grid.firstOpen();
  const first = doubtful ?? grid.tiles()[0];
  if (first) grid.go(first.dataset.id, { focus: Boolean(linked), open: open && Boolean(doubtful) });
}

document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
keysOn.checked = store("closeup-keys") !== "off";
keysOn.addEventListener("change", () => store("closeup-keys", keysOn.checked ? "on" : "off"));

document.addEventListener("htmx:responseError", () => say("The server could not answer. Reload the page.", { failed: true }));
document.addEventListener("htmx:sendError", () => {
  const told = document.getElementById("error").textContent; // a training is asked about every two seconds
  if (!told) say("The server does not answer. Is `closeup review` still running?", { failed: true });
});

if (hasGrid()) {
  grid.watch((tile, open) => {
    panel.show(tile.dataset.id, open, false);
  });
  grid.show();
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id === "results") {
      panel.close();
      grid.reset();
      begin(false);
    } else grid.show();
  });
  document.addEventListener("htmx:oobBeforeSwap", (event) => grid.onlyNew(event.detail.fragment));
  begin(true);
}
