// Sends photos to the service and shows its answers: box, close-up, label, other guesses.
import { offerCorrection } from "./correct.js";
import { drawBoxes, fit, load, paintCloseup, sameAs } from "./picture.js";

const form = document.getElementById("ask");
const answers = document.getElementById("answers");
const status = document.getElementById("status");
const root = form.dataset.root;
const narrow = matchMedia("(max-width: 30rem)");
const REASONS = {
  "none of the classes": "This is none of the classes that the model knows.",
  "not confident": "The model is not confident enough to answer. Its best guesses:",
  "unlike anything trained on": "This photo is unlike anything that the model was trained on.",
};
const FOLDED = ["none of the classes", "unlike anything trained on"]; // then guesses mean little
const percent = (p) => {
  if (p > 0.995) return "over 99 %"; // no model is certain
  return p < 0.005 ? "under 1 %" : `${Math.round(p * 100)} %`;
};

function post(path, file, accept = "application/json") {
  const body = new FormData();
  body.append("photo", file, file.name);
  return fetch(root + path, { method: "POST", body, headers: { accept } });
}

async function send(file, tries = 4) {
  const response = await post("/predict?nearest=6", file);
  if (response.status === 503 && tries > 1) {
    const seconds = Math.min(20, Number(response.headers.get("retry-after")) || 1);
    await new Promise((done) => setTimeout(done, seconds * 1000));
    return send(file, tries - 1);
  }
  if (response.status === 401) location.assign(`${root}/login?next=${root}/`);
  return response.json();
}

async function drawn(file) {
  const response = await post("/predict?draw=1", file, "image/jpeg");
  return response.ok ? URL.createObjectURL(await response.blob()) : "";
}

function guess([label, probability]) {
  const item = document.createElement("li");
  const word = document.createElement("span");
  const much = document.createElement("span");
  const bar = document.createElement("span");
  const fill = document.createElement("i");
  word.textContent = label;
  much.textContent = percent(probability);
  much.className = "probability";
  bar.className = "bar";
  fill.style.width = `${probability * 100}%`;
  bar.append(fill);
  item.append(word, much, bar);
  return item;
}

function neighbour({ label, similarity, picture }) {
  const item = document.createElement("li");
  const image = document.createElement("img");
  const word = document.createElement("span");
  Object.assign(image, { src: picture, alt: "", width: 96, height: 96, loading: "lazy" });
  word.textContent = label;
  item.title = `${label}, similarity ${similarity.toFixed(2)}`;
  item.append(image, word);
  return item;
}

function describe(one, place, answer) {
  const part = document.getElementById("object").content.cloneNode(true);
  const find = (name) => part.querySelector(`.${name}`);
  find("label").textContent = one.reason ? "Unknown" : one.label;
  if (!one.reason) find("sure").textContent = `${percent(one.confidence)} confidence`;
  if (answer.objects.length > 1) {
    find("number").hidden = false;
    find("number").textContent = place + 1;
  }
  if (one.reason) {
    find("why").hidden = false;
    find("why").textContent = REASONS[one.reason] ?? one.reason;
    find("object").classList.add("unsure");
  }
  find("guesses").append(...one.top.map(guess));
  if (one.likely.length > 1 && !one.reason) {
    find("likely").hidden = false;
    find("likely").textContent = `In 9 of 10 cases the correct answer is one of: ${one.likely.join(", ")}.`;
  }
  find("found").textContent = answer.found
    ? `Detected as “${one.parent || "object"}” (${percent(one.parent_score)} confidence).`
    : "No object was found, so the whole photo was classified.";
  const shown = (one.nearest ?? []).filter(({ picture }) => picture);
  find("nearest").hidden = !shown.length;
  find("nearest").querySelector("ul").append(...shown.map(neighbour));
  if (FOLDED.includes(one.reason)) {
    find("folded").hidden = false;
    find("folded").append(find("guesses"), find("likely"), find("nearest"));
  }
  find("closeup").setAttribute("aria-label", `Close-up: ${one.reason ? "unknown" : one.label}`);
  return part;
}

async function show(card, file, answer) {
  const views = card.querySelector(".views");
  const image = views.querySelector("img");
  const parts = answer.objects.map((one, place) => describe(one, place, answer));
  views.querySelector(".objects").append(...parts);
  if (!parts.length) throw new Error("No object was found in this photo.");
  image.alt = `The photo ${file.name}`;
  if ((await load(image, URL.createObjectURL(file))) && (await sameAs(file, image, answer.objects))) {
    if (answer.found) drawBoxes(views.querySelector(".boxes"), image, answer.objects);
    const canvases = views.querySelectorAll(".closeup");
    if (answer.found) {
      answer.objects.forEach((one, place) => paintCloseup(canvases[place], image, one.box, Number(form.dataset.pad)));
    }
  } else {
    // This browser cannot show the picture, or shows it differently: the service draws it.
    const url = await drawn(file);
    if (!url || !(await load(image, url))) views.querySelector(".photo").hidden = true;
  }
  fit(views.querySelector(".frame"), image);
  views.hidden = false;
}

// A card with the answer for a file; `label` is the known one of a sample photo, "" for any other.
async function ask(file, label = "") {
  const part = document.getElementById("pending").content.cloneNode(true);
  const card = part.querySelector("article");
  card.querySelector(".name").textContent = label ? `Test photo: ${label}` : file.name;
  card.querySelector(".close").onclick = () => card.remove();
  answers.prepend(part);
  try {
    if (file.size > Number(form.dataset.bytes)) throw new Error("This file is larger than this service accepts.");
    await file.arrayBuffer().catch(() => {
      throw new Error("This file cannot be read."); // a folder, or gone meanwhile
    });
    const answer = await send(file);
    if (answer.error) throw new Error(answer.error.message);
    await show(card, file, answer);
    if (!label) offerCorrection(card, answer, (label) => post(`/correct?label=${encodeURIComponent(label)}`, file));
    const first = answer.objects[0];
    status.textContent = first.reason
      ? `${file.name}: unknown, ${first.reason}`
      : `${file.name}: ${first.label}, ${percent(first.confidence)} confidence`;
  } catch (problem) {
    const words = problem instanceof TypeError ? "The service cannot be reached." : problem.message;
    const end = /[.!?]$/.test(words) ? "" : ".";
    card.querySelector(".problem").textContent = words.charAt(0).toUpperCase() + words.slice(1) + end;
    card.querySelector(".problem").hidden = false;
  }
  card.querySelector(".wait").hidden = true;
}

async function askAll(files, label = "") {
  const photos = [...files].reverse();
  // On a phone the answer takes the screen: there is none beside the form.
  const look = () => answers.scrollIntoView({ block: narrow.matches ? "start" : "nearest" });
  for (const [place, file] of photos.entries()) {
    const asked = ask(file, label);
    if (!place) look();
    await asked;
    if (!place) look();
  }
}

form.addEventListener("submit", (event) => event.preventDefault());
for (const input of form.querySelectorAll("input[type=file]")) {
  const chosen = () => {
    askAll(input.files);
    input.value = "";
  };
  input.addEventListener("change", chosen);
  if (input.files.length) chosen(); // before this script had loaded
}
document.querySelector(".samples")?.removeAttribute("hidden"); // without this script they do nothing
for (const sample of document.querySelectorAll(".sample")) {
  sample.querySelector("img").addEventListener("error", () => sample.parentElement.remove());
  sample.addEventListener("click", async () => {
    const response = await fetch(sample.dataset.photo).catch(() => null);
    if (response?.ok) askAll([new File([await response.blob()], "sample.jpg")], sample.dataset.label);
  });
}
if (matchMedia("(pointer: coarse)").matches) {
  form.querySelectorAll(".camera, #camera").forEach((part) => { part.hidden = false; });
  form.querySelector(".drop-words").hidden = true; // nothing can be dropped by touch
}

let depth = 0;
addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; form.classList.add("over"); });
addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) form.classList.remove("over"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  form.classList.remove("over");
  askAll(event.dataTransfer.files);
});
addEventListener("paste", (event) => { if (event.clipboardData?.files.length) askAll(event.clipboardData.files); });
