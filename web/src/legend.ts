/** What is drawn and what its colours mean. */
import type { Palette, Step, Timeline } from "./contract";
import { byId, el, option } from "./dom";
import { FILLED, kindOf, MEMBERS, paletteOf, shown, title } from "./products";
import { text } from "./text";

/** The choice of products: those that this run has. */
export function drawChoice(timeline: Timeline | null, chosen: string): void {
  const select = byId<HTMLSelectElement>("product");
  const products = timeline ? shown(timeline) : [];
  const signature = products.join() + document.documentElement.lang;
  if (select.dataset["signature"] !== signature) {
    select.dataset["signature"] = signature;
    select.replaceChildren(...products.map((product) => option(product, title(product), false)));
    select.disabled = products.length < 2;
  }
  const fits = products.includes(chosen) ? chosen : (products[0] ?? "");
  if (select.value !== fits) select.value = fits;
}

/** The legend of the step looked at: the past is observed rain whatever product is chosen for the future. */
export function drawLegend(palettes: Palette[], chosen: string | null, product: string, step: Step | null): void {
  const node = byId("legend");
  const observed = step?.kind === "observed";
  const kind = observed || product === MEMBERS ? "rate" : kindOf(product);
  const palette = paletteOf(palettes, kind, chosen);
  const filled = product !== MEMBERS && FILLED in (step?.images ?? {}); // stamps are too small for dots
  const signature = `${palette?.name} ${observed} ${filled} ${product} ${document.documentElement.lang}`;
  if (!palette || node.dataset["signature"] === signature) return;
  node.dataset["signature"] = signature;
  const classes = palette.classes.map((c) => el("li", {}, swatch(c.colour), el("span", { title: c.label }, edge(c.from))));
  const dotted = filled ? [el("li", { id: "legend-filled" }, el("i", { class: "dotted" }), text("satellite"))] : [];
  const hatch = el("li", { class: "unseen" }, el("i", { class: "hatch" }), text("notseen"));
  const heading = observed ? text("legend.observed") : product === MEMBERS ? text("product.rate") : title(product);
  node.replaceChildren(
    el("p", { id: "legend-title" }, `${heading}, ${palette.unit}`),
    el("ul", { "aria-labelledby": "legend-title", class: "classes" }, ...classes),
    el("ul", { class: "others" }, el("li", {}, el("i", { class: "none" }), text("dry")), hatch, ...dotted),
  );
}

function swatch(colour: string): HTMLElement {
  const node = el("i");
  node.style.background = colour;
  return node;
}

function edge(value: number): string {
  return String(value);
}
