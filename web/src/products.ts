/** Products: what they are called, which palette colours them, and which of them a run has. */
import type { Palette, Step, Timeline } from "./contract";
import { number, text, isKey } from "./text";

export const MEMBERS = "members";
const RATES = ["rain_mean", "rain_p50", "rain_p90", "rain_p10"];

export const isMember = (product: string): boolean => product.startsWith("rain_member_");
/** The picture of what a satellite filled: it lies over the rain of every product. */
export const FILLED = "satellite";

export function kindOf(product: string): Palette["kind"] {
  if (product.startsWith("prob_")) return "probability";
  return product === "accumulated" ? "accumulation" : "rate";
}

export function title(product: string): string {
  if (kindOf(product) === "probability") return text("product.prob", { threshold: number(Number(product.slice(5)), 1) });
  if (isMember(product)) return text("member", { number: Number(product.split("_").at(-1)) });
  const key = `product.${product}`;
  return isKey(key) ? text(key) : product;
}

/** What the run can show: rates, probabilities by threshold, accumulation, members; in that order. */
export function shown(timeline: Timeline): string[] {
  const there = new Set(timeline.steps.find((step) => step.kind === "forecast") ? Object.keys(timeline.steps.at(-1)!.images) : []);
  const probabilities = [...there].filter((p) => kindOf(p) === "probability").sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)));
  return [
    ...RATES.filter((p) => there.has(p)),
    ...probabilities,
    ...(there.has("accumulated") ? ["accumulated"] : []),
    ...([...there].some(isMember) ? [MEMBERS] : []),
  ];
}

/** The product that stands for `wanted` on the map: itself where the run has it, else the run's first. */
export function onMap(timeline: Timeline, wanted: string): string {
  const has = shown(timeline);
  return wanted !== MEMBERS && has.includes(wanted) ? wanted : (has[0] ?? "rain_mean");
}

export function imageOf(step: Step, product: string, palettes: Palette[], chosen: string | null): string | null {
  const shown = step.kind === "observed" ? "observed" : product;
  const url = step.images[shown];
  return url ? withPalette(url, palettes, kindOf(shown), chosen) : null;
}

/** The palette that colours a kind, of those the service has: the chosen one's sister, or its default (its first). */
export function paletteOf(palettes: Palette[], kind: Palette["kind"], chosen: string | null): Palette | null {
  const fit = palettes.filter((palette) => palette.kind === kind);
  return fit.find(({ name }) => name === chosen || name.endsWith(`-${chosen}`)) ?? fit[0] ?? null;
}

function withPalette(url: string, palettes: Palette[], kind: Palette["kind"], chosen: string | null): string {
  const palette = chosen ? paletteOf(palettes, kind, chosen) : null;
  return palette ? `${url}${url.includes("?") ? "&" : "?"}palette=${encodeURIComponent(palette.name)}` : url;
}
