// Sends photos to the service and shows its answers: box, close-up, label, other guesses.
const form = document.getElementById("ask");
const answers = document.getElementById("answers");
const status = document.getElementById("status");
const SVG = "http://www.w3.org/2000/svg";
const REASONS = {
  "none of the classes": "This is none of the classes that the model knows. Its guesses:",
  "not confident": "The model is not confident enough to answer. Its best guesses:",
  "unlike anything trained on":
    "This photo is unlike the training photos, so the guesses below are unreliable.",
};
const percent = (p) => {
  if (p > 0.995 && p < 1) return "over 99 %";
  return p > 0 && p < 0.005 ? "under 1 %" : `${Math.round(p * 100)} %`;
};

async function send(file, tries = 4) {
  const body = new FormData();
  body.append("photo", file, file.name);
  const response = await fetch("/predict?nearest=6", { method: "POST", body, headers: { accept: "application/json" } });
  if (response.status === 503 && tries > 1) {
    const seconds = Math.min(20, Number(response.headers.get("retry-after")) || 1);
    await new Promise((done) => setTimeout(done, seconds * 1000));
    return send(file, tries - 1);
  }
  if (response.status === 401) location.assign("/login?next=/");
  return response.json();
}

async function drawn(file) {
  const body = new FormData();
  body.append("photo", file, file.name);
  const response = await fetch("/predict?draw=1", { method: "POST", body, headers: { accept: "image/jpeg" } });
  return response.ok ? URL.createObjectURL(await response.blob()) : "";
}

function load(image, url) {
  return new Promise((done) => {
    image.onload = () => done(true);
    image.onerror = () => done(false);
    image.src = url;
  });
}

// Whether the browser shows the photo as the service read it, so that boxes can be drawn on it. Chromium
// ignores the EXIF orientation of a WebP, and counts fewer pixels if a JPEG's EXIF gives another resolution.
async function sameAs(file, { naturalWidth: width, naturalHeight: height }, objects) {
  const head = new Uint8Array(await file.slice(0, 21).arrayBuffer());
  const hasExif = String.fromCharCode(...head.slice(8, 16)) === "WEBPVP8X" && Boolean(head[20] & 8);
  if (hasExif || objects.some(({ box }) => box[2] > width + 1 || box[3] > height + 1)) return false;
  const pixels = await createImageBitmap(file).catch(() => null);
  const same = pixels?.width === width && pixels.height === height;
  pixels?.close();
  return same;
}

// The square that the model classified, as crops.cut cuts it.
function squareOf([x1, y1, x2, y2], width, height, pad) {
  const span = (low, high, limit) => {
    const first = Math.min(Math.floor(low), limit - 1);
    return [first, Math.min(Math.max(Math.ceil(high), first + 1), limit)];
  };
  const extend = ([low, high], size, limit) => [
    Math.min(Math.max(Math.floor((low + high - size) / 2), 0), limit - size), size];
  const across = span(x1, x2, width);
  const down = span(y1, y2, height);
  const longer = Math.max(across[1] - across[0], down[1] - down[0]);
  const wanted = Math.max(longer, Math.round(longer * (1 + 2 * pad)));
  const [left, wide] = extend(across, Math.min(wanted, width), width);
  const [top, high] = extend(down, Math.min(wanted, height), height);
  return { left, top, wide, high, side: Math.min(wanted, Math.max(width, height)) };
}

function paintCloseup(canvas, image, box, pad) {
  const { left, top, wide, high, side } = squareOf(box, image.naturalWidth, image.naturalHeight, pad);
  const scale = canvas.width / side;
  const paint = canvas.getContext("2d");
  paint.imageSmoothingQuality = "high";
  paint.drawImage(image, left, top, wide, high, (side - wide) / 2 * scale, (side - high) / 2 * scale,
    wide * scale, high * scale);
  canvas.hidden = false;
}

function drawBoxes(svg, image, objects) {
  const { naturalWidth: width, naturalHeight: height } = image;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  objects.forEach(({ box: [x1, y1, x2, y2] }, place) => {
    for (const kind of ["halo", "line"]) {
      const rect = document.createElementNS(SVG, "rect");
      Object.entries({ x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: kind })
        .forEach(([name, value]) => rect.setAttribute(name, value));
      svg.append(rect);
    }
    if (objects.length > 1) {
      const number = document.createElementNS(SVG, "text");
      const size = Math.max(width, height) / 22;
      Object.entries({ x: x1 + size / 4, y: y1 + size, "font-size": size })
        .forEach(([name, value]) => number.setAttribute(name, value));
      number.textContent = place + 1;
      svg.append(number);
    }
  });
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
  find("closeup").setAttribute("aria-label", `Close-up: ${one.reason ? "unknown" : one.label}`);
  return part;
}

async function show(card, file, answer) {
  const views = card.querySelector(".views");
  const image = views.querySelector("img");
  const parts = answer.objects.map((one, place) => describe(one, place, answer));
  views.querySelector(".objects").append(...parts);
  if (!parts.length) throw new Error("No object was found in this photo.");
  image.alt = `Your photo ${file.name}`;
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
  views.hidden = false;
}

async function ask(file) {
  const part = document.getElementById("pending").content.cloneNode(true);
  const card = part.querySelector("article");
  card.querySelector(".name").textContent = file.name;
  card.querySelector(".close").onclick = () => card.remove();
  answers.prepend(part);
  try {
    if (file.size > Number(form.dataset.bytes)) throw new Error("This file is larger than this service accepts.");
    await file.slice(0, 1).arrayBuffer().catch(() => {
      throw new Error("This file cannot be read."); // a folder, or gone meanwhile
    });
    const answer = await send(file);
    if (answer.error) throw new Error(answer.error.message);
    await show(card, file, answer);
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

async function askAll(files) {
  const photos = [...files];
  answers.scrollIntoView({ block: "nearest" });
  for (const file of photos.reverse()) await ask(file);
}

form.addEventListener("submit", (event) => event.preventDefault());
for (const input of form.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => {
    askAll(input.files);
    input.value = "";
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
