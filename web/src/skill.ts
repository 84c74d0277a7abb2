/** Skill by lead, ours beside the baselines': a chart and its table for each score. */
import type { ScorecardEvent, Skill } from "./contract";
import { el, svg, table } from "./dom";
import { isKey, number, text } from "./text";

const WIDTH = 340;
const HEIGHT = 140;
/** Lines differ by more than their colour. */
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "1 5", "12 4", "4 6"];
const BASELINES = ["steps", "advection", "extrapolation", "lk_extrapolation", "persistence"];
const FIRST = ["crps-quantiles", "csi"];

/** By maker: value by lead. */
type Lines = Map<string, Map<number, number>>;
type Pen = { class: string; "stroke-dasharray": string };
type Pens = Map<string, Pen>;

/** The scores of a region's last day; the continuous score and the hits at each threshold first. */
export function liveSkill(found: Skill[], serving: string): HTMLElement[] {
  const scores = found.filter(({ made_by }) => made_by !== "observed");
  const groups = [...Map.groupBy(scores, ({ score, threshold }) => `${score} ${threshold ?? ""}`).values()].sort((a, b) => rank(a[0]!) - rank(b[0]!));
  const runs = new Map([...Map.groupBy(scores, ({ made_by }) => made_by)].map(([maker, own]) => [maker, Math.max(...own.map((one) => one.runs))]));
  const drawn = groups.map((rows) => graph(titleOf(rows[0]!), linesOf(rows), serving, runs));
  const main = groups.filter((rows) => FIRST.includes(rows[0]!.score)).length;
  const more = el("details", { id: `more-skill-${drawn.length}` }, el("summary", {}, text("skill.more")), el("div", { class: "side" }, ...drawn.slice(main)));
  const told = el("p", { class: "hint" }, text("skill.live"));
  return drawn.length ? [told, el("div", { class: "side" }, ...drawn.slice(0, main)), ...(drawn.length > main ? [more] : [])] : [];
}

/** The published comparison: the one place where STEPS itself stands beside. */
export function publishedSkill(events: ScorecardEvent[]): HTMLElement[] {
  const drawn = events.map(({ event, unit, lead_minutes, values }) => {
    const lines = ordered(Object.entries(values).map(([maker, column]) => {
      const known = column.flatMap((value, k): [number, number][] => (value === null ? [] : [[lead_minutes[k]!, value]]));
      return [maker, new Map(known)] as const;
    }));
    return graph(`CRPS, ${unit}, ${event}`, lines, "", new Map());
  });
  return drawn.length ? [el("h4", {}, text("skill.published")), el("div", { class: "side" }, ...drawn)] : [];
}

function rank({ score, threshold }: Skill): number {
  const at = FIRST.indexOf(score);
  return 1000 * (at < 0 ? FIRST.length + (score === "mae" ? 0 : 1) : at) + (threshold ?? 0);
}

function titleOf({ score, threshold }: Skill): string {
  const key = `score.${score}`;
  const name = isKey(key) ? text(key) : score.toUpperCase();
  return threshold === null ? name : `${name}, ≥ ${number(threshold)} mm/h`;
}

function linesOf(rows: Skill[]): Lines {
  const makers = Map.groupBy(rows, ({ made_by }) => made_by);
  return ordered([...makers].map(([maker, own]) => [maker, new Map(own.map((row) => [row.lead_minutes, row.value] as const).sort(([a], [b]) => a - b))] as const));
}

/** Models first, then what they are held against. */
function ordered(lines: (readonly [string, Map<number, number>])[]): Lines {
  return new Map(lines.filter(([, line]) => line.size).sort(([a], [b]) => BASELINES.indexOf(a) - BASELINES.indexOf(b) || a.localeCompare(b)));
}

function nameOf(maker: string): string {
  const key = `maker.${maker}`;
  return isKey(key) ? text(key) : maker;
}

/**
 * @param serving - the model that serves: ours to look at, even where it is another one's baseline
 * @param runs - how many each was scored on: those of different numbers were not all scored on the same rain
 */
function graph(name: string, lines: Lines, serving: string, runs: Map<string, number>): HTMLElement {
  const pens = new Map([...lines.keys()].map((maker, k) => [maker, pen(maker !== serving && BASELINES.includes(maker), k)]));
  return el("div", { class: "graph" }, el("h5", {}, name), chart(name, lines, pens), key(pens, runs), numbers(name, lines));
}

function chart(name: string, lines: Lines, pens: Pens): SVGElement {
  const points = [...lines.values()].flatMap((line) => [...line]);
  const longest = Math.max(...points.map(([lead]) => lead), 5);
  const top = round(Math.max(...points.map(([, value]) => value), 1e-6));
  const x = (lead: number): number => 36 + ((WIDTH - 50) * lead) / longest;
  const y = (value: number): number => HEIGHT - 22 - ((HEIGHT - 32) * value) / top;
  const words = (at: [number, number], said: string, anchor: string): SVGElement => {
    const node = svg("text", { x: at[0], y: at[1], "text-anchor": anchor });
    node.textContent = said;
    return node;
  };
  const paths = [...lines].map(([maker, line]) => {
    const d = [...line].map(([lead, value], first) => `${first ? "L" : "M"}${x(lead).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    return svg("path", { d, ...pens.get(maker) });
  });
  const levels = [0, top / 2, top];
  const grid = levels.map((level) => svg("path", { class: "axis", d: `M36 ${y(level)}H${WIDTH - 14}` }));
  const shares = longest < 60 ? [0.5, 1] : [0.25, 0.5, 0.75, 1];
  const leads = shares.map((share) => Math.round((longest * share) / 5) * 5);
  const marks = [
    ...levels.map((level) => words([30, y(level) + 4], number(level, 3), "end")),
    ...leads.map((lead) => words([x(lead), HEIGHT - 6], lead === longest ? `${lead} min` : String(lead), lead === longest ? "end" : "middle")),
  ];
  return svg("svg", { class: "skill", width: WIDTH, height: HEIGHT, role: "img", "aria-label": name }, ...grid, ...paths, ...marks);
}

/** Two digits, upwards: an axis that ends at a number that one can read. */
function round(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value) - 0.3);
  return Math.ceil(value / unit) * unit;
}

function pen(isBaseline: boolean, k: number): Pen {
  return { class: isBaseline ? "baseline" : "ours", "stroke-dasharray": DASHES[k % DASHES.length]! };
}

function key(pens: Pens, runs: Map<string, number>): HTMLElement {
  const sample = (stroke: Pen): SVGElement => svg("svg", { viewBox: "0 0 28 6", "aria-hidden": "true" }, svg("path", { d: "M0 3h28", ...stroke }));
  return el("ul", { class: "key" }, ...[...pens].map(([maker, stroke]) => el("li", {}, sample(stroke), runs.has(maker) ? `${nameOf(maker)} · ${runs.get(maker)}` : nameOf(maker))));
}

function numbers(name: string, lines: Lines): HTMLElement {
  const leads = [...new Set([...lines.values()].flatMap((line) => [...line.keys()]))].sort((a, b) => a - b);
  const rows = leads.map((lead) => [`+${lead} min`, ...[...lines.values()].map((line) => (line.has(lead) ? number(line.get(lead)!, 3) : "–"))]);
  return el("details", {}, el("summary", {}, text("table")), table(name, [text("table.time"), ...[...lines.keys()].map(nameOf)], rows));
}
