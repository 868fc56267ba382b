// The filter: a menu for each column of few values, and a box for any condition.

import { make, one } from "./dom.js";
import { state } from "./state.js";

const FEW = 30; // values of a menu; more are typed, with hints

const quote = (value) => `'${value.replaceAll("'", "''")}'`;

export const condition = ({ name, is_list }, value) => (is_list ? `array_has(${name}, ${quote(value)})` : `${name} = ${quote(value)}`);

// What the filter asks for, one by one; whole where "or" or "not" bind it together.
const parts = () => (/\b(or|not)\b/i.test(state.where.replace(/'[^']*'/g, "")) ? [state.where] : state.where.split(" AND ")).filter(Boolean);

export const isOn = (words) => parts().includes(words);

// The filter without what the menu of a column asks for.
export function without(column) {
  const start = condition(column, "").slice(0, column.is_list ? -2 : -1);
  return parts().filter((part) => !part.startsWith(start)).join(" AND ");
}

export function both(...conditions) {
  const some = conditions.filter(Boolean);
  return some.length < 2 ? some.join() : some.map((words) => (/\bor\b/i.test(words.replace(/'[^']*'/g, "")) ? `(${words})` : words)).join(" AND ");
}

const told = ({ value, count }) => (count === null ? value : `${value} (${count})`);

function menu(column, place) {
  const facts = { name: column.name };
  if (column.values.length <= FEW) {
    const options = column.values.map((one) => make("option", { value: one.value }, told(one)));
    return [make("select", facts, make("option", { value: "" }, "any"), ...options)];
  }
  const list = `values-${place}`;
  const hints = column.values.map((one) => make("option", { value: one.value, label: told(one) }));
  return [make("input", { ...facts, list, type: "text", placeholder: `any of ${hints.length}`, autocomplete: "off" }), make("datalist", { id: list }, ...hints)];
}

// Return what shows in the menus that the filter has changed elsewhere.
export function makeFilters(columns, onchange) {
  const menus = columns.filter((column) => column.values.length > 1).map((column, place) => {
    const [field, ...rest] = menu(column, place);
    const label = make("label", {}, column.key.replaceAll("_", " "), field, ...rest);
    field.addEventListener("change", () => onchange(both(without(column), field.value.trim() && condition(column, field.value.trim()))));
    return { column, field, label };
  });
  const box = make("input", { type: "text", maxLength: 1000, spellcheck: false, placeholder: "height_cm < 60", onchange: () => onchange(box.value.trim()) });
  const clear = make("button", { type: "button", className: "quiet", onclick: () => onchange("") }, "Clear");
  one("filters").replaceChildren(...menus.map(({ label }) => label), make("label", { className: "wide" }, "or any condition", box), clear);
  one("filters").onsubmit = (event) => { event.preventDefault(); document.activeElement.blur(); };
  return () => {
    for (const { column, field } of menus) field.value = column.values.find(({ value }) => isOn(condition(column, value)))?.value ?? "";
    box.value = state.where;
    one("filter").classList.toggle("on", Boolean(state.where));
    const drop = make("button", { type: "button", className: "quiet", onclick: () => onchange("") }, "Show all again");
    one("filtered").replaceChildren(...(state.where ? [`Only where ${state.where.replaceAll("\"", "")} `, drop] : []));
    one("filtered").hidden = !state.where;
  };
}
