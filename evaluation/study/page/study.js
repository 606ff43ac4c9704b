// The page of a study: asks for a name, shows pairs in an order of the rater's own, keeps every answer in this browser, and saves
// them as a file. It knows numbers of pairs alone, never what stands on which side, and it loads nothing but its own pictures.
"use strict";

const STUDY = JSON.parse(document.getElementById("study").textContent);
const TRIALS = STUDY.blocks.flat();
const TURNS = 6;
const PLACES = ["Over the photo", "From where the photo was taken", ...[60, 120, 180, 240, 300].map((turn) => `Walked ${turn}° around`)];
const LONGEST_NAME = 40;
const NAME = new RegExp(`^[\\p{L}\\p{N}][\\p{L}\\p{M}\\p{N} ._-]{0,${LONGEST_NAME - 1}}$`, "u");
const at = (id) => document.getElementById(id);

let rater = null; // the name
let order = []; // the numbers of the pairs as this rater sees them
let answers = {}; // by number: [choice, seconds]
let place = 0; // in the order
let ready = false; // the pictures of the pair are there
let since = 0; // when they were

// Keeping answers: in this browser, under the study's name and the rater's.

const SHELF = `study-${STUDY.study}`;
const shelfOf = (name) => `${SHELF}-${name.toLowerCase()}`;
const memory = new Map(); // where the browser keeps nothing
let forgetful = "";

function keep(key, value) {
  memory.set(key, value);
  try {
    localStorage.setItem(key, value);
  } catch {
    forgetful = "This browser keeps no answers: please answer all pairs without closing the page, and save the file.";
    warn(forgetful);
  }
}

function kept(key) {
  try {
    return localStorage.getItem(key) ?? memory.get(key) ?? null;
  } catch {
    return memory.get(key) ?? null;
  }
}

function keptAnswers(name) {
  try {
    const found = JSON.parse(kept(shelfOf(name)) ?? "{}");
    const known = Object.entries(found).filter(([trial, answer]) => TRIALS.includes(trial) && Array.isArray(answer));
    return Object.fromEntries(known);
  } catch {
    return {};
  }
}

function warn(text) {
  at("notice").textContent = text;
  at("notice").hidden = !text;
}

// An order of the rater's own: the same for the same name, so that a reload changes nothing.

function* numbers(text) {
  let state = 2166136261; // FNV-1a of the text starts a xorshift generator
  for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 16777619);
  state = state >>> 0 || 1;
  for (let count = 0; ; count += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    if (count >= 8) yield (state >>> 0) / 2 ** 32; // the first ones of similar names are similar
  }
}

function shuffled(list, random) {
  const mixed = [...list];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random.next().value * (last + 1));
    [mixed[last], mixed[other]] = [mixed[other], mixed[last]];
  }
  return mixed;
}

function orderOf(name) {
  const random = numbers(`${STUDY.study}|${name.toLowerCase()}`);
  return STUDY.blocks.flatMap((block) => shuffled(block, random));
}

// Three screens.

function show(screen) {
  for (const id of ["start", "trial", "end"]) at(id).hidden = id !== screen;
  window.scrollTo(0, 0);
}

function begin(name) {
  rater = name;
  keep(SHELF, name);
  order = orderOf(name);
  answers = keptAnswers(name);
  const open = order.findIndex((trial) => !(trial in answers));
  if (open < 0) return end();
  return showPair(open);
}

function end() {
  show("end");
  const missing = order.filter((trial) => !(trial in answers)).length;
  at("thanks").textContent = missing ? `${missing} pairs are left, ${rater}` : `Thank you, ${rater}`;
  at("again").textContent = missing ? "Go on" : "Back to the pairs";
  at("file").textContent = `The file is ${fileName()}.`;
  at("thanks").focus();
}

const source = (trial, what) => `pictures/${trial}-${what}.webp`;
const sources = (trial) => ["input", "left-over", "left-around", "right-over", "right-around"].map((what) => source(trial, what));

async function load(trial) {
  await Promise.all(
    sources(trial).map((url) => {
      const image = new Image();
      image.src = url;
      return image.decode();
    }),
  );
}

async function showPair(number) {
  place = number;
  ready = false;
  show("trial");
  const trial = order[place];
  at("heading").textContent = `Pair ${place + 1} of ${order.length}`;
  at("progress").value = Object.keys(answers).length / order.length;
  at("back").disabled = place === 0;
  at("trial").classList.add("loading");
  mark();
  fill(at("input"), source(trial, "input"));
  for (const side of ["left", "right"])
    for (const [view, picture] of [...at(side).querySelectorAll(".picture")].entries()) paint(picture, trial, side, view);
  at("heading").focus({ preventScroll: true });
  try {
    await load(trial);
  } catch {
    if (order[place] === trial) warn(`A picture of pair ${trial} cannot be loaded; is the folder "pictures" beside this page? Then reload.`);
    return;
  }
  if (order[place] !== trial || at("trial").hidden) return; // gone on meanwhile
  warn(forgetful);
  at("trial").classList.remove("loading");
  ready = true;
  since = performance.now();
  mark();
  at("status").textContent = `${at("heading").textContent} is shown.`;
  if (place + 1 < order.length) load(order[place + 1]).catch(() => {});
}

function fill(picture, url, column = 0, columns = 1) {
  picture.style.backgroundImage = `url("${url}")`;
  picture.style.backgroundSize = `${100 * columns}% 100%`;
  picture.style.backgroundPosition = `${columns > 1 ? (100 * column) / (columns - 1) : 0}% 0`;
}

// View 0 lies over the photo; the others are in one picture side by side.
function paint(picture, trial, side, view) {
  if (view === 0) fill(picture, source(trial, `${side}-over`));
  else fill(picture, source(trial, `${side}-around`), view - 1, TURNS);
}

function mark() {
  for (const button of document.querySelectorAll("[data-choice]")) {
    button.disabled = !ready;
    button.setAttribute("aria-pressed", String(answers[order[place]]?.[0] === button.dataset.choice));
  }
}

function choose(choice) {
  if (!ready || at("zoom").open) return;
  const seconds = Math.round((performance.now() - since) / 100) / 10;
  answers[order[place]] = [choice, seconds];
  keep(shelfOf(rater), JSON.stringify(answers));
  if (place + 1 < order.length) showPair(place + 1);
  else end();
}

function back() {
  if (place > 0) showPair(place - 1);
}

// The file: answers in the order in which the pairs were shown.

const fileName = () => `answers-${rater.replace(/\s+/g, "-")}.json`;

function content() {
  const given = order.filter((trial) => trial in answers);
  const rows = given.map((trial) => ({ trial, choice: answers[trial][0], seconds: answers[trial][1] }));
  return JSON.stringify({ format: 1, study: STUDY.study, rater, answers: rows }, null, 1) + "\n";
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content()], { type: "application/json" }));
  link.download = fileName();
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Enlarged: one view of both sides.

let enlarged = 0;

function zoom(view) {
  enlarged = (view + PLACES.length) % PLACES.length;
  for (const side of ["left", "right"]) paint(at(`zoom-${side}`), order[place], side, enlarged);
  at("zoom-what").textContent = PLACES[enlarged];
  if (!at("zoom").open) at("zoom").showModal();
}

// What is on the page, and what keys and buttons do.

function build() {
  for (const side of ["left", "right"]) {
    const title = document.createElement("h2");
    title.textContent = side === "left" ? "Left" : "Right";
    at(side).append(title);
    for (const [view, words] of PLACES.entries()) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = view ? "picture" : "picture over";
      button.setAttribute("aria-label", `${title.textContent}: ${words}. Enlarge`);
      button.addEventListener("click", () => zoom(view));
      at(side).append(button);
    }
  }
  at("count").textContent = String(TRIALS.length);
  at("choose-same").hidden = at("tied").hidden = !STUDY.ties;
  at("forced").hidden = STUDY.ties;
}

function enter(event) {
  event.preventDefault();
  const name = at("name").value.normalize("NFC").trim().replace(/\s+/g, " ");
  const fine = NAME.test(name) && [...name].length <= LONGEST_NAME;
  at("wrong").textContent = fine ? "" : `Please give 1 to ${LONGEST_NAME} letters or digits; blanks, dots and dashes may stand between.`;
  at("name").setAttribute("aria-invalid", String(!fine));
  if (fine) begin(name);
  else at("name").focus();
}

function press(event) {
  if (event.repeat || event.altKey || event.ctrlKey || event.metaKey || at("trial").hidden) return;
  const onButton = event.target instanceof HTMLButtonElement;
  const same = event.key === "ArrowDown" || (event.key === " " && !onButton);
  let act = null;
  if (at("zoom").open) {
    if (event.key === "ArrowLeft") act = () => zoom(enlarged - 1);
    else if (event.key === "ArrowRight") act = () => zoom(enlarged + 1);
  } else if (event.key === "ArrowLeft") act = () => choose("left");
  else if (event.key === "ArrowRight") act = () => choose("right");
  else if (same && STUDY.ties) act = () => choose("same");
  else if (event.key === "Backspace") act = back;
  if (act === null) return;
  event.preventDefault();
  act();
}

build();
at("enter").addEventListener("submit", enter);
at("back").addEventListener("click", back);
at("save").addEventListener("click", download);
at("download").addEventListener("click", download);
at("again").addEventListener("click", () => {
  const open = order.findIndex((trial) => !(trial in answers));
  showPair(open < 0 ? order.length - 1 : open);
});
at("someone").addEventListener("click", () => {
  keep(SHELF, "");
  at("name").value = "";
  show("start");
  at("name").focus();
});
for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => choose(button.dataset.choice));
at("zoom-before").addEventListener("click", () => zoom(enlarged - 1));
at("zoom-after").addEventListener("click", () => zoom(enlarged + 1));
at("zoom-close").addEventListener("click", () => at("zoom").close());
at("zoom").addEventListener("click", (event) => event.target === at("zoom") && at("zoom").close());
document.addEventListener("keydown", press);
const before = kept(SHELF);
if (before) begin(before);
else show("start");
