// Small hands for the page: elements, names of things, moving cards, moving the focus.

export function make(tag, facts = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...inside.filter((one) => one !== null));
  return element;
}

export const one = (id) => document.getElementById(id);

export function say(words) {
  one("status").textContent = words;
}

// "Desk lamp – an artificial source of light" is called "Desk lamp".
export function nameOf({ text, metadata, id }) {
  const given = metadata?.name ?? metadata?.title ?? text?.split(/\s[–—-]\s|[.:;]\s/)[0] ?? id;
  return given.length > 60 ? `${given.slice(0, 58).trim()}…` : given;
}

export const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Put cards into a list and let those that stay glide to their new places.
export function arrange(list, cards) {
  const before = new Map([...list.children].map((card) => [card, card.getBoundingClientRect()]));
  list.replaceChildren(...cards);
  if (isStill()) return;
  cards.forEach((card, place) => {
    const old = before.get(card);
    const now = card.getBoundingClientRect();
    if (now.top > innerHeight * 1.5) return;
    const from = old
      ? { transform: `translate(${old.left - now.left}px, ${old.top - now.top}px)` }
      : { opacity: 0, transform: "scale(.92)" };
    const delay = old ? 0 : Math.min(place * 12, 240);
    card.animate([from, {}], { duration: old ? 420 : 260, delay, easing: "cubic-bezier(.2,.8,.2,1)", fill: "backwards" });
  });
}

// Arrows go to the nearest card on that side; only one card of a list is a tab stop.
export function walk(event) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const here = event.target.closest?.(".card");
  if (!step || !here) return;
  const centre = (card) => {
    const box = card.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const [x, y] = centre(here);
  let best = null;
  for (const card of document.querySelectorAll("#stage .card")) {
    if (!card.checkVisibility()) continue;
    const [dx, dy] = centre(card).map((value, axis) => value - [x, y][axis]);
    const along = dx * step[0] + dy * step[1];
    const aside = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
    if (along > 8 && (!best || along + aside * 3 < best.far)) best = { card, far: along + aside * 3 };
  }
  if (!best) return;
  event.preventDefault();
  focusCard(best.card);
}

export function focusCard(card) {
  for (const other of card.closest("ul").querySelectorAll(".card")) other.tabIndex = -1;
  card.tabIndex = 0;
  card.focus();
}

// A soft cloud over a picture: where the model looked.
export function heat(grid, image) {
  const rows = grid.length;
  const columns = grid[0].length;
  const most = Math.max(...grid.flat(), 1e-9);
  const small = make("canvas", { width: columns, height: rows });
  const pen = small.getContext("2d");
  grid.forEach((row, y) => row.forEach((weight, x) => {
    pen.fillStyle = `rgb(226 88 34 / ${Math.max(0, weight / most) ** 1.3 * 0.78})`;
    pen.fillRect(x, y, 1, 1);
  }));
  const wide = image.naturalWidth || 160;
  const high = image.naturalHeight || 160;
  const large = make("canvas", { width: wide, height: high, className: "heat" });
  const brush = large.getContext("2d");
  brush.imageSmoothingQuality = "high";
  brush.filter = `blur(${wide / columns / 4}px)`;
  brush.drawImage(small, 0, 0, wide, high);
  large.setAttribute("aria-hidden", "true");
  return large;
}
