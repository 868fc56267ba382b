// The page: pick a thing, choose a relation, watch the neighbours change.

import { label } from "./about.js";
import * as api from "./api.js";
import { arrange, focusCard, heat, make, nameOf, one, say, walk } from "./dom.js";
import { condition, both, isOn as isFiltered, makeFilters, without } from "./filters.js";
import { Panel, makeCard } from "./panel.js";
import { fold, goBack, isHome, source, state, write } from "./state.js";

let known = []; // texts of the model's relations
let spoken = new Map(); // these by what they are also called, folded
let about = new Map(); // the column that a relation's text is about
let directed = new Set(); // texts that say what the thing picked is to the others
let columns = []; // what may be filtered by
let showFilter = () => {};
let panels = [];
let shown = 60; // pictures on the first page
let left = 0; // how far down it was when a thing was picked
let chosen = { panels: [], guessed: [] }; // the relations to come back to after a search by words

function go(change, isNew = true) {
  Object.assign(state, change);
  write({ isNew });
  return show();
}

function pick(item) {
  const { panels, guessed } = state.text ? chosen : state;
  if (isHome()) left = scrollY;
  const done = go({ item: item.id, text: null, file: null, panels, guessed });
  scrollTo({ top: 0, behavior: "instant" });
  return done;
}

function find(text) {
  if (state.item) chosen = { panels: state.panels, guessed: state.guessed };
  return go({ item: null, text, file: null, panels: [[]], guessed: [true] }, isHome());
}

function bring(file) {
  if (!file?.type.startsWith("image/")) return say("That is not a picture.");
  return go({ item: null, text: null, file, ...(state.panels.length ? {} : { panels: [[]], guessed: [true] }) });
}

async function show() {
  document.body.classList.toggle("home", isHome());
  if (document.activeElement !== one("find")) one("find").value = state.text ?? "";
  one("source").hidden = isHome();
  showFilter();
  await (isHome() ? showAll() : showOne());
}

async function showAll() {
  document.title = "relatum";
  panels = [];
  const list = make("ul", { className: "cards" });
  const more = make("button", { className: "quiet more", type: "button", hidden: true, onclick: () => { shown += 60; fill(); } }, "More");
  const note = make("p", { className: "note", role: "alert", hidden: true });
  one("stage").replaceChildren(
    make("div", { className: "hero" },
      make("h1", {}, "Pick a thing. Then choose what “near” means.")),
    note, list, more);
  const fill = async () => {
    try {
      const { total, items } = await api.browse(state.where, Math.min(shown, 200));
      const cards = items.map((item) => makeCard(item, { onpick: pick }));
      arrange(list, cards);
      if (cards.length) cards[0].firstChild.tabIndex = 0;
      more.hidden = total <= items.length || shown >= 200;
      note.hidden = total > 0;
      note.textContent = "Nothing passes the filter.";
      say(`${total} things`);
    } catch (error) {
      note.hidden = false;
      note.textContent = error.message;
    }
  };
  await fill();
}

async function showOne() {
  if (!state.panels.length) Object.assign(state, { panels: [state.item && known.length ? [{ text: known[0], weight: 1 }] : []], guessed: [true] });
  state.panels = state.panels.map((terms) => (terms.length === 1 ? [{ ...terms[0], text: spoken.get(fold(terms[0].text)) ?? terms[0].text }] : terms));
  write({ isNew: false });
  const two = state.panels.length > 1;
  if (panels.length !== state.panels.length) {
    const acts = { onpick: pick, onchange: () => write({ isNew: false }), onlook: lookBack, onput: compare, onmore: () => panels.forEach((panel) => panel.grow()), only };
    panels = state.panels.map((_, place) => new Panel(place, { known, spoken, about, directed }, acts));
    one("stage").replaceChildren(bar(), make("div", { className: two ? "panels two" : "panels" }, ...panels.map((panel) => panel.element)));
  }
  for (const toggle of document.querySelectorAll(".bar [data-name]")) toggle.setAttribute("aria-pressed", String(isOn(toggle.dataset.name)));
  document.querySelector(".bar [data-name=differ]").hidden = !two;
  document.querySelector(".panels").classList.toggle("differ", two && state.differs);
  await Promise.all([showSource(), ...panels.map((panel) => panel.show())]);
}

const isOn = (name) => ({ pair: state.panels.length > 1, differ: state.differs, mix: state.mixes, look: state.looks })[name];

// Tell each of two lists what the other shows.
function compare() {
  panels.forEach((panel, place) => {
    const others = panels[1 - place]?.hits ?? [];
    panel.mark(others.length ? new Set(others.map(({ id }) => id)) : null);
  });
}

// A button that leaves only what has a value, or all of it again.
function only({ key, word }) {
  const column = columns.find((one) => one.key === key && one.values.some(({ value }) => value === word));
  if (!column) return null;
  if (state.item && column.values.find(({ value }) => value === word).count === 1) return make("p", {}, `Nothing else has ${label(key)} ${word}.`);
  const words = condition(column, word);
  const isPressed = isFiltered(words);
  const press = async ({ target }) => {
    const panel = target.closest(".panel");
    await go({ where: both(without(column), isPressed ? "" : words) }, false);
    [...panel.querySelectorAll(".told .toggle")].find((button) => button.textContent === target.textContent)?.focus();
  };
  return make("button", { type: "button", className: "toggle", "aria-pressed": String(isPressed), onclick: press }, `Only ${word}`);
}

function bar() {
  const toggle = (name, words, title, act) => make("button", { type: "button", className: "toggle", "data-name": name, title, onclick: act }, words);
  return make("div", { className: "bar" },
    make("button", { type: "button", className: "quiet", "aria-label": "All things", onclick: () => home().then(() => scrollTo({ top: left, behavior: "instant" })) }, "← ", make("span", {}, "All things")),
    toggle("pair", "Side by side", "Two relations beside each other", pair),
    toggle("differ", "Only what differs", "Leave out what both lists show", () => go({ differs: !state.differs }, false)),
    toggle("mix", "Mix", "Weigh several relations", () => go({ mixes: !state.mixes }, false)),
    toggle("look", "Why?", "Show where the model looked", () => go({ looks: !state.looks }, false)));
}

function pair() {
  const [first, second] = state.panels;
  const [isGuess] = state.guessed;
  if (second) return go({ panels: [first], guessed: [isGuess] }, false).then(() => document.querySelector("[data-name=pair]").focus());
  const rest = known.filter((text) => text !== first[0]?.text);
  const other = rest.find((text) => about.has(text)) ?? rest[0];
  return go({ panels: [first, other ? [{ text: other, weight: 1 }] : []], guessed: [isGuess, true] }, false).then(() => document.querySelector("[data-name=pair]").focus());
}

const home = () => go({ item: null, text: null, file: null, panels: [], guessed: [] });

async function showSource() {
  const place = one("source");
  const item = state.item ? await api.item(state.item).catch((error) => ({ id: state.item, text: error.message, has_image: false })) : null;
  const name = item ? nameOf(item) : state.text ?? "Your picture";
  const tile = make("div", { className: "tile" });
  if (item?.has_image || state.file) {
    const image = make("img", { alt: item ? name : "The picture that you brought", width: 160, height: 160 });
    if (state.file) image.src = URL.createObjectURL(state.file);
    else api.showPicture(image, item.id);
    tile.append(image);
  } else tile.append(make("span", { className: "words" }, item?.text ?? `“${state.text}”`));
  const text = make("p", { className: "text" }, item?.text ?? "");
  const facts = Object.entries(item?.metadata ?? {}).filter(([key, value]) => key !== "name" && value !== null && String(value));
  const list = make("dl", {}, ...facts.slice(0, 8).map(([key, value]) =>
    make("div", {}, make("dt", {}, key.replaceAll("_", " ")), make("dd", {}, Array.isArray(value) ? value.join(", ") : String(value)))));
  const legend = state.looks ? make("p", { className: "legend" }, make("mark", { style: "--weight: 1" }, "Orange"), " is what counted for the match you point at.") : null;
  place.replaceChildren(tile, make("div", { className: "about" }, make("h1", {}, name), legend, text, list));
  document.title = `${name} · relatum`;
}

// Show on the source what made it match a hit.
function lookBack(panel, hit) {
  const place = one("source");
  place.querySelector(".heat")?.remove();
  const seen = hit.explanation?.query;
  if (!seen) return;
  const image = place.querySelector("img");
  if (seen.grid && image?.naturalWidth) image.after(heat(seen.grid, image));
  if (!seen.words) return;
  const most = Math.max(...seen.words.map(([, weight]) => weight), 1e-9);
  place.querySelector(".text").replaceChildren(...seen.words.flatMap(([word, weight]) => {
    const mark = make("mark", {}, word);
    mark.style.setProperty("--weight", Math.max(0, weight / most).toFixed(2));
    return [mark, word.endsWith(" ") ? "" : " "];
  }));
}

function openFilters(isOpen) {
  one("filters").hidden = !isOpen;
  one("filter").setAttribute("aria-expanded", String(isOpen));
}

function escape() {
  if (!one("filters").hidden) {
    openFilters(false);
    one("filter").focus();
  } else if (!isHome()) home();
}

function listen() {
  let timer;
  one("find").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => (one("find").value.trim() ? find(one("find").value.trim()) : home()), 250);
  });
  document.querySelector(".find").addEventListener("submit", (event) => {
    event.preventDefault();
    const first = document.querySelector("#stage .card");
    if (first) focusCard(first);
  });
  one("upload").addEventListener("click", () => one("file").click());
  one("file").addEventListener("change", () => { bring(one("file").files[0]); one("file").value = ""; });
  one("filter").addEventListener("click", () => openFilters(one("filters").hidden));
  one("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  document.querySelector(".brand").addEventListener("click", (event) => { event.preventDefault(); home(); });
  history.scrollRestoration = "manual"; // the browser would scroll before there is a list
  addEventListener("popstate", async ({ state: kept }) => {
    goBack();
    await show();
    scrollTo({ top: kept?.top ?? 0, behavior: "instant" });
  });
  addEventListener("keydown", (event) => {
    const isTyping = event.target.matches?.("input:not([type=range]), select, textarea");
    if (event.key === "Escape" && !one("door").open) escape();
    if (event.key === "/" && !isTyping) { event.preventDefault(); one("find").focus(); }
    walk(event);
  });
  for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => {
    if (event.dataTransfer?.types.includes("Files")) { event.preventDefault(); one("drop").hidden = false; }
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) one("drop").hidden = true; });
  addEventListener("drop", (event) => { event.preventDefault(); one("drop").hidden = true; bring(event.dataTransfer.files[0]); });
  addEventListener("paste", (event) => { const [file] = event.clipboardData?.files ?? []; if (file) bring(file); });
}

const isDark = () => (localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function setTheme(theme) {
  localStorage.setItem("theme", theme);
  document.documentElement.style.colorScheme = theme;
}

if (localStorage.getItem("theme")) setTheme(localStorage.getItem("theme"));
listen();
try {
  const told = await api.relations();
  known = told.relations.flatMap(({ text, inverse }) => (inverse ? [text, inverse] : [text]));
  const names = ({ id, text, inverse, paraphrases }) => [[id, text], [`${id} (inverse)`, inverse ?? text], ...paraphrases.map((words) => [words, text])];
  spoken = new Map([...told.relations.flatMap(names), ...known.map((text) => [text, text])].map(([words, text]) => [fold(words), text]));
  about = new Map(told.relations.filter(({ id }) => id in told.about).map(({ id, text }) => [text, told.about[id]]));
  directed = new Set(told.relations.flatMap(({ text, inverse }) => (inverse ? [text, inverse] : [])));
  columns = told.columns;
} catch (error) {
  say(error.message);
}
showFilter = makeFilters(columns, (where) => go({ where }, false));
await show();
document.body.classList.add("ready");
