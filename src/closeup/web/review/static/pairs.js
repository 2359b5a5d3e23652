// Near duplicates: whether the photos of a pair, or of all pairs of a group, belong together.
import { decide, note, overtaken, say, settled } from "./send.js";

const groups = () => [...document.querySelectorAll(".group")];
const rows = (group) => [...group.querySelectorAll("[data-a]")];
const members = (group) => [...group.querySelectorAll("[data-member]")].map((one) => one.dataset.member);

let renewing = false;

function noteAll() {
  for (const { dataset } of groups().flatMap(rows)) {
    note(dataset.a, dataset.seenA);
    note(dataset.b, dataset.seenB);
  }
  for (const { dataset } of document.querySelectorAll("[data-member]")) note(dataset.member, dataset.seen);
}

// Shows the present state; until it has arrived, nothing can be decided.
async function renew() {
  const here = document.activeElement?.closest(".group")?.dataset.group;
  renewing = true;
  await settled();
  try {
    const answer = await fetch(location.href);
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector(".groups").replaceWith(fresh.querySelector(".groups"));
    noteAll();
    groups().find((one) => here && one.dataset.group === here)?.focus({ preventScroll: true });
    renewing = false;
  } catch {
    location.reload();
  }
}

async function send(kind, wanted, move) {
  if (renewing) return;
  const pairs = wanted.map(({ dataset }) => [dataset.a, dataset.b]);
  const answer = await decide({ kind, pairs }, pairs.flat());
  if (!answer) return;
  if (answer.overtaken.length) {
    overtaken(answer.overtaken);
    if (!renewing) renew();
    return;
  }
  for (const row of wanted) {
    for (const button of row.querySelectorAll("[data-act]")) {
      button.setAttribute("aria-pressed", String(button.dataset.act === kind));
    }
  }
  say(kind === "same" ? "Kept together." : "Separated.", { numbers: answer.numbers });
  if (move) step(1);
}

// One photo of a group is used, its copies are left out.
async function keep(group, photo, move) {
  if (renewing) return;
  const copies = members(group).filter((name) => name !== photo);
  const answer = await decide({ kind: "keep", photo, copies }, [photo, ...copies]);
  if (!answer) return;
  if (answer.overtaken.length) overtaken(answer.overtaken);
  else say(copies.length > 1 ? `Kept one, ${copies.length} copies left out.` : "Kept one, the copy left out.",
    { numbers: answer.numbers });
  if (!renewing) await renew();
  if (move) step(1);
}

function step(by) {
  const all = groups();
  const here = all.findIndex((one) => one.contains(document.activeElement));
  const to = all[Math.min(Math.max(here + by, 0), all.length - 1)];
  to?.focus({ preventScroll: true });
  to?.scrollIntoView({ block: "nearest" });
}

noteAll();
groups()[0]?.focus({ preventScroll: true }); // the keys shown on it work at once

document.addEventListener("click", (event) => {
  const kept = event.target.closest(".group [data-keep]");
  if (kept) keep(kept.closest(".group"), kept.dataset.keep, false);
  const button = event.target.closest(".group [data-act]");
  if (!button) return;
  const group = button.closest(".group");
  const row = button.closest("[data-a]");
  send(button.dataset.act, row ? [row] : rows(group), false);
});

document.addEventListener("keydown", (event) => {
  if (!groups().length || event.ctrlKey || event.altKey || event.metaKey) return;
  if (document.querySelector("dialog[open]") || !document.getElementById("keys-on").checked) return;
  const group = document.activeElement?.closest(".group");
  const kind = { t: "same", d: "different" }[event.key];
  const photo = /^[1-9]$/.test(event.key) && group && members(group)[Number(event.key) - 1];
  if (kind && group) send(kind, rows(group), true);
  else if (photo) keep(group, photo, true);
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else return;
  event.preventDefault();
});
