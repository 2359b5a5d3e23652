// Suggested photos: one label for the photos of a group that are not left out, then the next group.
import { ask } from "./labels.js";
import { decide, note, overtaken, say } from "./send.js";

const place = document.getElementById("to-label");
const batches = () => [...document.querySelectorAll(".batch")];
const all = (batch) => [...batch.querySelectorAll(".one")];
const open = (batch) => all(batch).filter((one) => !one.classList.contains("is-done"));
const taken = (batch) => open(batch).filter((one) => one.getAttribute("aria-pressed") === "true");

// The group that has the focus, else the first with photos that wait.
const current = () => document.activeElement?.closest(".batch") ?? batches().find((one) => open(one).length);

function go(batch) {
  batch?.focus({ preventScroll: true });
  batch?.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const every = batches();
  const here = every.indexOf(document.activeElement?.closest(".batch"));
  go(every[Math.min(Math.max(here + by, 0), every.length - 1)]);
}

// What was left out comes next; a group without any more gives way to the next one that has.
function proceed(batch) {
  const rest = open(batch);
  rest.forEach((one) => one.setAttribute("aria-pressed", "true"));
  if (rest.length) {
    go(batch);
    return;
  }
  const every = batches();
  const after = every.slice(every.indexOf(batch) + 1).find((one) => open(one).length);
  const following = after ?? every.find((one) => open(one).length);
  if (following) go(following);
  else say("All photos of this page are decided.");
}

function finish(ones, words) {
  for (const one of ones) {
    one.classList.add("is-done");
    one.setAttribute("aria-pressed", "false");
    one.querySelector(".given").textContent = words;
  }
}

// A photo in which nothing was found gets the box that was too weak, with its label.
async function send(batch, kind, label) {
  const ones = taken(batch);
  if (!ones.length) return;
  const photos = ones.map((one) => one.dataset.photo);
  const words = { relabel: label, reject: "not used", not_found: "no object" }[kind];
  finish(ones, words);
  proceed(batch);
  const asked = [];
  for (const one of kind === "relabel" ? ones.filter((each) => each.dataset.box) : []) {
    const { photo, box } = one.dataset;
    asked.push(decide({ kind: "boxes", photo, boxes: [box.split(" ").map(Number)] }, [photo]));
  }
  const named = kind === "not_found" ? { photos } : { crops: ones.map((one) => one.dataset.crop) };
  asked.push(decide({ kind, ...named, ...(label ? { label } : {}) }, photos));
  const answers = await Promise.all(asked);
  const late = new Set(answers.flatMap((answer) => (answer ? answer.overtaken : photos)));
  for (const one of ones.filter((each) => late.has(each.dataset.photo))) {
    one.classList.remove("is-done");
    one.querySelector(".given").textContent = "";
  }
  if (answers.every(Boolean) && late.size) overtaken([...late]);
  else if (!late.size) {
    say(`${words}: ${ones.length}.`, { numbers: answers.flatMap((answer) => answer.numbers) });
  }
}

function act(batch, what, label) {
  if (!batch) return;
  if (what === "label") send(batch, "relabel", label);
  else if (what === "answer") send(batch, "relabel", (taken(batch)[0] ?? all(batch)[0]).dataset.answer);
  else if (what === "other") ask((given) => send(batch, "relabel", given));
  else send(batch, what, "");
}

function toggle(one) {
  if (!one || one.classList.contains("is-done")) return;
  one.setAttribute("aria-pressed", String(one.getAttribute("aria-pressed") !== "true"));
}

function beside(by) {
  const batch = current();
  if (!batch) return;
  const ones = all(batch);
  const here = ones.indexOf(document.activeElement);
  ones[Math.min(Math.max(here + by, 0), ones.length - 1)].focus();
}

if (place) {
  for (const { dataset } of batches().flatMap(all)) note(dataset.photo, dataset.seen);
  go(current());
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".batch [data-do]");
    if (button) act(button.closest(".batch"), button.dataset.do, button.dataset.label);
    else toggle(event.target.closest(".one"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select")) return;
    if (document.querySelector("dialog[open]") || !document.getElementById("keys-on").checked) return;
    const batch = current();
    const chip = /^[1-9]$/.test(event.key)
      && batch?.querySelectorAll('[data-do="label"]')[Number(event.key) - 1];
    const what = { l: "other", r: "reject", n: "not_found" }[event.key];
    if (chip) act(batch, "label", chip.dataset.label);
    else if (what) act(batch, what);
    else if (event.key === "Enter" && !event.target.closest("a, button:not(.one)")) act(batch, "answer");
    else if (event.key === "x") toggle(document.activeElement?.closest(".one"));
    else if (event.key === "ArrowRight") beside(1);
    else if (event.key === "ArrowLeft") beside(-1);
    else if (event.key === "j" || event.key === "ArrowDown") step(1);
    else if (event.key === "k" || event.key === "ArrowUp") step(-1);
    else return;
    event.preventDefault();
  });
}
