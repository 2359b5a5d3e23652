// Near duplicates: of each pair, or of all pairs of a group at once, whether they belong together.
import { decide, note, overtaken, say } from "./send.js";

const groups = () => [...document.querySelectorAll(".group")];
const rows = (group) => [...group.querySelectorAll("[data-a]")];

for (const group of groups()) {
  for (const { dataset } of rows(group)) {
    note(dataset.a, dataset.seenA);
    note(dataset.b, dataset.seenB);
  }
}

async function send(kind, group, wanted, move) {
  const pairs = wanted.map(({ dataset }) => [dataset.a, dataset.b]);
  const answer = await decide({ kind, pairs }, pairs.flat());
  if (!answer) return;
  if (answer.overtaken.length) {
    overtaken(answer.overtaken);
    return;
  }
  for (const row of wanted) {
    for (const button of row.querySelectorAll("[data-act]")) {
      button.setAttribute("aria-pressed", String(button.dataset.act === kind));
    }
  }
  say(kind === "same" ? "Kept together." : "Told apart.");
  if (move) step(1);
}

function step(by) {
  const all = groups();
  const here = all.findIndex((one) => one.contains(document.activeElement));
  const to = all[Math.min(Math.max(here + by, 0), all.length - 1)];
  to?.focus({ preventScroll: true });
  to?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".group [data-act]");
  if (!button) return;
  const group = button.closest(".group");
  const row = button.closest("[data-a]");
  send(button.dataset.act, group, row ? [row] : rows(group), false);
});

document.addEventListener("keydown", (event) => {
  if (!groups().length || event.ctrlKey || event.altKey || event.metaKey) return;
  if (document.querySelector("dialog[open]") || !document.getElementById("keys-on").checked) return;
  const group = document.activeElement?.closest(".group");
  const kind = { t: "same", d: "different" }[event.key];
  if (kind && group) send(kind, group, rows(group), true);
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else return;
  event.preventDefault();
});
