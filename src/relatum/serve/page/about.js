// What the relations asked are about: on each card the value of their column, or of their groups.

import { make } from "./dom.js";

const MOST = 2; // values on a card

const words = (value) => (Array.isArray(value) ? value : value === null || value === undefined || value === "" ? [] : [value]).map(String);

export const label = (key) => key.replaceAll("_", " ");

// The columns of relations, none where one of them has no column.
export function columnsOf(terms, about) {
  const keys = terms.filter(({ weight }) => weight > 0).map(({ text }) => about.get(text));
  return keys.every(Boolean) ? [...new Set(keys)] : [];
}

// What a thing has in the columns: [{key, word}].
export const factsOf = (thing, keys) => keys.flatMap((key) => words(thing?.metadata?.[key]).map((word) => ({ key, word })));

// What a hit says: [{words, isSame}], what it shares with the source first; null: not to be told.
export function valuesOf(hit, keys, origin) {
  if (!keys.length) return Object.entries(hit.groups).map(([words, shared]) => ({ words, isSame: hit.is_linked === null ? null : shared }));
  const own = factsOf(origin, keys);
  const values = keys.flatMap((key) => {
    const mine = own.filter((fact) => fact.key === key);
    const found = factsOf(hit, [key]).map(({ word }) => ({ key, words: word, isSame: mine.length ? mine.some((fact) => fact.word === word) : null }));
    return found.length ? found : [{ key, words: `no ${label(key)} given`, isSame: null }];
  });
  return values.sort((one, other) => Number(other.isSame) - Number(one.isSame));
}

export function showValues(values) {
  const kind = ({ isSame }) => (isSame ? "same" : isSame === false ? "other" : "");
  const sign = ({ isSame }) => (isSame ? "✓ " : isSame === false ? "≠ " : "");
  const shown = values.slice(0, MOST).map((value) => make("span", { className: kind(value) }, make("span", { "aria-hidden": "true" }, sign(value)), value.words));
  return values.length > MOST ? [...shown, make("span", {}, `+${values.length - MOST}`)] : shown;
}

export const sayValues = (values) => values.slice(0, MOST).map(({ key, words, isSame }) => {
  const said = key ? `${label(key)} ${words}` : words;
  return isSame === null ? said : `${said}, ${isSame ? "the same" : "another"}`;
});
