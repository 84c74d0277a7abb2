/** Elements, made and found. */

type Child = Node | string | null;
type Attributes = Record<string, string | number | boolean | ((event: Event) => void) | undefined>;

/** An element with attributes (`onclick`-like ones are listeners; false leaves one out) and children. */
export function el<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  set(node, attributes);
  node.append(...children.filter((child) => child !== null));
  return node;
}

export function svg(tag: string, attributes: Attributes = {}, ...children: Node[]): SVGElement {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(node, attributes);
  node.append(...children);
  return node;
}

function set(node: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
}

/** The element of the static page with that id. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const node = document.getElementById(id);
  if (!node) throw new Error(`no element #${id}`);
  return node as T;
}

export function option(value: string, label: string, selected: boolean): HTMLOptionElement {
  return el("option", { value, selected }, label);
}

/** A table with one heading row; the first cell of each row is its heading. */
export function table(caption: string, heads: string[], rows: (string | Node)[][]): HTMLElement {
  const cells = (row: (string | Node)[]) => row.map((cell, k) => el(k ? "td" : "th", k ? {} : { scope: "row" }, cell));
  const made = el(
    "table",
    {},
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells(row)))),
  );
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, made);
}
