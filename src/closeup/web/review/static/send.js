// Talks to the server: decisions are sent one at a time, and are saved once they are acknowledged.
const seen = new Map(); // by photo: the number of the last decision that this page has seen
const late = new Map(); // by photo: how often somebody else decided first
let line = Promise.resolve();
let hide = 0;

export function note(photo, number) {
  seen.set(photo, Math.max(seen.get(photo) ?? 0, Number(number) || 0));
}

function undoButton(numbers) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "link", textContent: "Undo" });
  Object.assign(button.dataset, { act: "take-back", numbers: numbers.join(" ") });
  const key = document.createElement("kbd");
  key.textContent = "u";
  key.setAttribute("aria-hidden", "true");
  button.append(" ", key);
  return button;
}

// What was done, with a button to undo the decisions of these numbers.
export function say(words, { failed = false, numbers = [] } = {}) {
  const place = document.getElementById(failed ? "error" : "message");
  document.getElementById(failed ? "message" : "error").replaceChildren();
  place.replaceChildren(words, ...(numbers.length ? [" ", undoButton(numbers)] : []));
  const fade = () => {
    if (place.matches(":hover, :focus-within")) hide = setTimeout(fade, 2000);
    else place.replaceChildren();
  };
  clearTimeout(hide);
  hide = setTimeout(fade, failed ? 12000 : 7000);
}

async function request(path, body) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST", body: JSON.stringify(body),
      headers: { "content-type": "application/json", accept: "application/json" },
    });
  } catch {
    throw new Error("the server does not answer. Is `closeup review` still running?");
  }
  if (response.status === 401) location.assign("/login");
  const answer = await response.json().catch(() => null);
  if (!response.ok || !answer) {
    throw new Error(answer?.error?.message ?? `the server answered ${response.status}`);
  }
  return answer;
}

async function post(path, body) {
  const answer = await request(path, body);
  for (const [photo, number] of Object.entries(answer.seen)) seen.set(photo, number);
  for (const photo of answer.overtaken) late.set(photo, (late.get(photo) ?? 0) + 1);
  const counts = { ...answer.counts, decided: answer.decided };
  for (const [name, count] of Object.entries(counts)) {
    for (const badge of document.querySelectorAll(`[data-count="${name}"]`)) {
      badge.textContent = count;
      badge.hidden = !count;
    }
    for (const link of document.querySelectorAll(`[data-left="${name}"]`)) link.hidden = !count;
  }
  return answer;
}

function queue(path, make) {
  const done = line.then(() => post(path, make()));
  line = done.catch(() => {});
  return done.catch((err) => {
    say(`Not saved: ${err.message}`, { failed: true });
    return null;
  });
}

// What the page showed of a photo is looked up when the request is sent, because our own earlier
// decisions add to it. What somebody else decided meanwhile does not count: nobody had seen it.
export function decide(decision, photos) {
  const before = [...new Set(photos)].map((name) => [name, seen.get(name) ?? 0, late.get(name)]);
  const known = () => Object.fromEntries(before.map(([name, number, times]) =>
    [name, late.get(name) === times ? seen.get(name) ?? 0 : number]));
  return queue("/decisions", () => ({ decision, seen: known() }));
}

// Resolves once all decisions so far are answered.
export const settled = () => line;

export const undo = (numbers = []) => queue("/undo", () => ({ numbers }));

export const overtaken = (names) =>
  say(`Not saved: somebody else has just decided about ${names.join(", ")}. `
    + "The page now shows that decision; decide again if you disagree.", { failed: true });

// Starts or stops something that is no decision, then shows what has become of it.
export async function order(path) {
  try {
    await request(path, {});
    location.reload();
  } catch (err) {
    say(`${err.message[0].toUpperCase()}${err.message.slice(1)}`, { failed: true });
  }
}
