// What the page shows, as a link. In: the address. Out: the same as values, and back again.

export const state = read();

// As the service compares texts of relations: case, spaces and a last stop do not count.
export const fold = (text) => text.toLowerCase().trim().split(/\s+/).join(" ").replace(/[ .!?]+$/, "");

// A panel's relations: [{text, weight}]; none at all is likeness in general.
function readPanel(word) {
  if (!word) return [];
  if (!word.includes("~")) return [{ text: word, weight: 1 }];
  return word.split("|").map((term) => {
    const [weight, ...text] = term.split("~");
    return { text: text.join("~"), weight: Math.max(-1, Math.min(1, Number(weight) || 0)) };
  });
}

function writePanel(terms) {
  if (terms.length === 1 && terms[0].weight === 1) return terms[0].text;
  return terms.map(({ text, weight }) => `${weight}~${text}`).join("|");
}

function read() {
  const words = new URLSearchParams(location.search);
  return {
    item: words.get("item"),
    text: words.get("text"),
    where: words.get("where") ?? "",
    looks: words.has("look"),
    differs: words.has("differ"),
    panels: words.getAll("under").slice(0, 2).map(readPanel),
    mixes: words.has("mix"),
    guessed: [0, 1].map((place) => words.getAll("guess").includes(String(place))), // the page chose these relations
  };
}

export function write({ isNew }) {
  const words = new URLSearchParams();
  if (state.item) words.set("item", state.item);
  if (state.text) words.set("text", state.text);
  if (state.item || state.text) for (const terms of state.panels) words.append("under", writePanel(terms));
  if (state.item || state.text) state.panels.forEach((_, place) => { if (state.guessed[place]) words.append("guess", place); });
  if (state.where) words.set("where", state.where);
  if (state.looks) words.set("look", "");
  if (state.differs) words.set("differ", "");
  if (state.mixes) words.set("mix", "");
  const link = words.size ? `?${words}` : location.pathname;
  if (!isNew) return history.replaceState(history.state, "", link);
  history.replaceState({ top: scrollY }, "", location.href); // where to come back to
  history.pushState(null, "", link);
}

export const source = () => ({ item: state.item, text: state.text, file: state.file });

export const isHome = () => !state.item && !state.text && !state.file;

export function goBack() {
  Object.assign(state, read(), { file: null });
}
