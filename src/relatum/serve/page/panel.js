// One relation, or a mix of them, and the neighbours under it.

import { columnsOf, factsOf, label, sayValues, showValues, valuesOf } from "./about.js";
import { item, search, showPicture } from "./api.js";
import { arrange, heat, make, nameOf, say } from "./dom.js";
import { fold, source, state } from "./state.js";

const PAGE = 24;
const EVEN = 0.5; // from this probability on a hit is likely

export function makeCard(item, { onpick, detail = null }) {
  const tile = make("span", { className: "tile" });
  const name = nameOf(item);
  const card = make("button", {
    className: "card", type: "button", tabIndex: -1, onclick: () => onpick(item),
    "aria-label": detail ? `${name}, ${detail}` : name,
  }, tile, make("span", { className: "name" }, name));
  if (detail) card.append(make("span", { className: "values" }), make("span", { className: "detail" }, detail));
  if (item.has_image === false) tile.append(make("span", { className: "words" }, item.text ?? ""));
  else {
    const image = make("img", { alt: "", loading: "lazy", width: 160, height: 160 });
    image.addEventListener("error", () => image.replaceWith(make("span", { className: "words" }, item.text ?? "")));
    showPicture(image, item.id);
    tile.append(image);
  }
  return make("li", {}, card);
}

// How much of a match the picture carries, and how much the words.
function sides(seen) {
  const [image, text] = [seen?.image, seen?.text].map((loss) => Math.max(0, loss ?? 0));
  return image && text ? ` · picture ${Math.round((100 * image) / (image + text))} %` : "";
}

export class Panel {
  constructor(place, { known, spoken, about, directed }, { onpick, onchange, onlook, onput, onmore, only }) {
    Object.assign(this, { place, known, spoken, about, directed, onpick, onchange, onlook, onput, only });
    this.cards = new Map();
    this.hits = [];
    this.k = PAGE;
    this.input = make("textarea", {
      className: "relation", rows: 1, maxLength: 500, placeholder: "are alike in general", spellcheck: false,
      "aria-label": place ? "Second relation, in any words" : "Relation, in any words",
      oninput: () => this.later(() => this.choose(this.input.value.trim()), 300),
      onkeydown: (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        this.list.querySelector(".card")?.focus();
      },
    });
    this.chips = make("div", { className: "chips", role: "group", "aria-label": "Known relations" });
    this.note = make("p", { className: "note", role: "alert", hidden: true });
    this.told = make("div", { className: "told" });
    this.list = make("ul", { className: "cards" });
    this.more = make("button", { className: "quiet more", type: "button", hidden: true, onclick: onmore }, "More");
    this.lead = make("span", { className: "lead" });
    const label = place ? "Neighbours under the second relation" : "Neighbours";
    this.element = make("section", { className: "panel", "aria-label": label },
      make("div", { className: "ask" }, this.lead, this.input),
      make("div", { className: "pin" }, this.chips), this.told, this.note, this.list, this.more);
  }

  get terms() {
    return state.panels[this.place];
  }

  set terms(terms) {
    state.panels[this.place] = terms;
  }

  later(act, milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(act, milliseconds);
  }

  choose(words) {
    const text = this.spoken.get(fold(words)) ?? words;
    this.terms = text ? [{ text, weight: 1 }] : [];
    state.guessed[this.place] = false;
    this.k = PAGE;
    this.onchange();
    this.show();
  }

  weigh(text, weight) {
    const rest = this.terms.filter((term) => term.text !== text);
    this.terms = weight ? [...rest, { text, weight }] : rest;
    state.guessed[this.place] = false;
    this.say();
    this.later(() => { this.onchange(); this.refresh(); }, 120);
  }

  grow() {
    this.k += PAGE;
    this.refresh();
  }

  show() {
    this.chips.className = state.mixes ? "sliders" : "chips";
    this.chips.replaceChildren(...(state.mixes ? this.sliders() : this.buttons()));
    const pressed = this.chips.querySelector("[aria-pressed=true]");
    if (pressed) this.chips.scrollLeft = pressed.offsetLeft - this.chips.offsetLeft - 8;
    this.say();
    return this.refresh();
  }

  say() {
    const size = (weight) => (Math.abs(weight) === 1 ? "" : `${Math.abs(weight)} × `);
    const sign = (weight, place) => (weight < 0 ? "− " : place ? "+ " : "");
    const words = this.terms.map(({ text, weight }, place) => sign(weight, place) + size(weight) + text);
    if (document.activeElement !== this.input) this.input.value = words.join(" ");
    this.input.readOnly = this.terms.length > 1;
    this.lead.textContent = this.directed.has(this.terms[0]?.text) ? "This thing" : "Things that";
  }

  buttons() {
    const chosen = this.terms.length === 1 ? this.terms[0].text : this.terms.length ? null : "";
    return ["", ...this.known].map((text) => make("button", {
      type: "button", className: "chip", "aria-pressed": String(text === chosen), onclick: () => {
        this.input.value = text;
        this.choose(text);
        this.chips.querySelector("[aria-pressed=true]")?.focus({ preventScroll: true });
        if (this.element.getBoundingClientRect().top < 0) this.element.scrollIntoView({ behavior: "instant" });
      },
    }, text || "are alike in general"));
  }

  sliders() {
    const typed = this.terms.map((term) => term.text).filter((text) => !this.known.includes(text));
    return [...typed, ...this.known].map((text) => {
      const weight = this.terms.find((term) => term.text === text)?.weight ?? 0;
      const shown = make("output", {});
      const range = make("input", { type: "range", min: -1, max: 1, step: 0.1, value: weight, oninput: () => {
        fill(Number(range.value));
        this.weigh(text, Number(range.value));
      } });
      const row = make("label", {}, make("span", {}, text), range, shown);
      const fill = (size) => {
        shown.textContent = size.toFixed(1);
        row.classList.toggle("used", size !== 0);
        range.style.setProperty("--from", `${50 + 50 * Math.min(0, size)}%`);
        range.style.setProperty("--to", `${50 + 50 * Math.max(0, size)}%`);
      };
      fill(weight);
      return row;
    });
  }

  relation() {
    const terms = this.terms;
    if (!terms.length) return null;
    if (terms.length === 1 && terms[0].weight === 1) return terms[0].text;
    return Object.fromEntries(terms.map(({ text, weight }) => [text, weight]));
  }

  async refresh() {
    this.asked?.abort();
    this.asked = new AbortController();
    this.element.setAttribute("aria-busy", "true");
    const query = { relation: this.relation(), k: this.k, explain: state.looks, ...(state.where && { where: state.where }) };
    const origin = state.item ? item(state.item).catch(() => null) : null; // that it is not there is told beside
    try {
      const { hits } = await search(source(), query, this.asked.signal);
      this.origin = await origin;
      this.put(hits);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.put([]); // what was found before answers another question
      this.tell(error.message);
    }
    this.element.removeAttribute("aria-busy");
  }

  tell(words) {
    this.note.textContent = words;
    this.note.hidden = !words;
  }

  put(hits) {
    this.tell(hits.length ? "" : "Nothing passes the filter.");
    const old = this.cards;
    this.cards = new Map();
    for (const hit of hits) {
      const detail = hit.score.toFixed(2) + sides(hit.explanation?.hit);
      const card = old.get(hit.id) ?? makeCard(hit, { onpick: this.onpick, detail });
      this.cards.set(hit.id, card);
      this.renew(card, hit, detail);
    }
    this.hits = hits;
    this.onput();
    arrange(this.list, this.rows());
    this.more.hidden = hits.length < this.k;
    if (hits.length) this.onlook(this, hits[0]);
    say(`${hits.length} neighbours that ${this.input.value || "are alike"}`);
  }

  // The cards, and where they stop to be likely.
  rows() {
    const cards = [...this.cards.values()];
    const chances = this.hits.map(({ probability }) => probability);
    if (!chances.length || chances.includes(null)) return cards;
    const keys = columnsOf(this.terms, this.about);
    const isSame = (hit) => valuesOf(hit, keys, this.origin).some((value) => value.isSame);
    const last = this.hits.findLastIndex((hit) => hit.probability >= EVEN || isSame(hit)) + 1; // what a card says is not in doubt
    if (last === chances.length) return cards;
    const words = last ? "Unsure from here on: under 50\u00a0%" : `Unsure of all: ${Math.round(100 * Math.max(...chances))}\u00a0% at best`;
    cards.splice(last, 0, make("li", { className: "edge", title: "How often pairs that score so are linked in the catalogue" }, words));
    return cards;
  }

  // Say on the cards what they have in common with the source, and what the other list has not.
  mark(others) {
    const keys = columnsOf(this.terms, this.about);
    let isFirst = true;
    for (const hit of this.hits) {
      const card = this.cards.get(hit.id);
      const button = card.firstChild;
      const values = valuesOf(hit, keys, this.origin);
      const isAlone = others !== null && !others.has(hit.id);
      const badges = [hit.is_linked && "known link", isAlone && "only here"].filter(Boolean);
      card.classList.toggle("both", others !== null && !isAlone);
      button.querySelector(".values").replaceChildren(...showValues(values));
      button.querySelectorAll(".badge").forEach((badge) => badge.remove());
      button.firstChild.append(...badges.map((words) => make("span", { className: `badge ${words.split(" ")[0]}` }, words)));
      const detail = button.querySelector(".detail").textContent;
      button.setAttribute("aria-label", [nameOf(hit), ...sayValues(values), detail, ...badges].join(", "));
      const isShown = !state.differs || isAlone || others === null;
      button.tabIndex = isShown && isFirst ? 0 : -1;
      isFirst &&= !isShown;
    }
    this.tellFacts(keys, others);
  }

  tellFacts(keys, others) {
    const count = this.hits.length;
    const own = factsOf(this.origin, keys);
    const facts = keys.map((key) => {
      const mine = own.filter((fact) => fact.key === key);
      if (!mine.length) return `On the cards: ${label(key)}`;
      const same = this.hits.filter((hit) => valuesOf(hit, [key], this.origin).some(({ isSame }) => isSame));
      return `Same ${label(key)}, ${mine.map(({ word }) => word).join(" or ")}: ${same.length} of ${count}`;
    });
    const links = this.hits.filter((hit) => hit.is_linked).length;
    if (this.hits.some((hit) => hit.is_linked !== null)) facts.push(`Known links: ${links} of ${count}`);
    const alone = others && this.hits.filter((hit) => !others.has(hit.id)).length;
    if (others) facts.push(alone ? `Not in the other list: ${alone} of ${count}` : "Both lists show the same things");
    const act = state.mixes ? "weigh" : "choose";
    const guess = this.terms.length ? `Chosen for you; ${act} another above.` : `Alike in general; ${act} a relation above.`;
    if (this.terms.some(({ text }) => !this.spoken.has(fold(text)))) facts.push("New to the model: may be wrong");
    this.told.replaceChildren(
      ...(state.guessed[this.place] ? [make("p", { className: "guess" }, guess)] : []),
      ...facts.map((words) => make("p", {}, words)),
      ...own.slice(0, 3).map((fact) => this.only(fact)).filter(Boolean));
  }

  renew(card, hit, detail) {
    const button = card.firstChild;
    button.querySelector(".detail").textContent = detail;
    button.querySelector(".heat")?.remove();
    const image = button.querySelector("img");
    const grid = hit.explanation?.hit.grid;
    if (grid && image) {
      const lay = () => image.after(heat(grid, image));
      image.complete && image.naturalWidth ? lay() : image.addEventListener("load", lay, { once: true });
    }
    if (hit.probability !== null) button.title = `${Math.round(hit.probability * 100)} % of pairs that score so are linked`;
    button.onmouseenter = button.onfocus = () => this.look(hit);
  }

  // The best ten come with what carried them; that of another is asked for when it is pointed at.
  look(hit) {
    this.onlook(this, hit);
    clearTimeout(this.pointing);
    if (state.looks && !hit.explanation) this.pointing = setTimeout(() => this.explain(hit), 150);
  }

  async explain(hit) {
    const query = { relation: this.relation(), k: 1, explain: true, where: `id = '${hit.id.replaceAll("'", "''")}'` };
    const { hits: [found] } = await search(source(), query).catch(({ message }) => { this.tell(message); return { hits: [] }; });
    if (!found?.explanation || !this.hits.includes(hit)) return;
    hit.explanation = found.explanation;
    this.renew(this.cards.get(hit.id), hit, hit.score.toFixed(2) + sides(hit.explanation.hit));
    this.onlook(this, hit);
  }
}
