/** The charts of a place: rates with their band, and probabilities. Loaded when the first place is asked for. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { isUnseen, type Row, type Series } from "./series";
import { clock } from "./text";

const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];

export function rateChart(box: HTMLElement, { rows, band }: Series, now: number): uPlot {
  const ink = colours(box);
  const column = (name: "observed" | "said" | "mean" | "p10" | "p90") => rows.map((row) => row[name] ?? null);
  const data = [rows.map((row) => row.time / 1000), column("observed"), column("said"), column("p90"), column("p10"), column("mean")];
  const steps = uPlot.paths.bars!({ size: [0.75, 14], align: -1 });
  const quiet = { points: { show: false } };
  const series: uPlot.Series[] = [
    {},
    { ...quiet, stroke: ink.observed, fill: ink.observed, width: 0, paths: steps },
    { ...quiet, stroke: ink.said, width: 2, dash: [4, 3] },
    { ...quiet, stroke: band ? ink.band : "transparent", width: 1 },
    { ...quiet, stroke: band ? ink.band : "transparent", width: 1 },
    { ...quiet, stroke: ink.forecast, width: 2.5 },
  ];
  const top = Math.max(2, ...rows.flatMap((row) => [row.observed, row.said, row.p90, row.mean].map((v) => v ?? 0)));
  const options = { ...frame(box, rows, now, ink, 190), series, bands: [{ series: [3, 4], fill: ink.bandFill }] as uPlot.Band[] };
  options.scales!["y"] = { range: [0, top * 1.1] };
  return new uPlot(options, data as uPlot.AlignedData, box);
}

export function chanceChart(box: HTMLElement, { rows, chances }: Series, now: number): uPlot {
  const ink = colours(box);
  const ahead = rows.filter((row) => row.kind === "forecast");
  const percent = (name: string) => ahead.map((row) => (row.chances[name] == null ? null : 100 * row.chances[name]));
  const data = [ahead.map((row) => row.time / 1000), ...chances.map(percent)];
  const lines = chances.map((_, k): uPlot.Series => ({ stroke: ink.forecast, width: 2, dash: DASHES[k % DASHES.length]!, points: { show: false } }));
  const options = { ...frame(box, ahead, now, ink, 150), series: [{}, ...lines] };
  options.scales!["y"] = { range: [0, 100] };
  return new uPlot(options, data as uPlot.AlignedData, box);
}

/** The line patterns of the probability chart, as the key draws them. */
export const dashOf = (k: number): string => DASHES[k % DASHES.length]!.join(" ");

type Ink = ReturnType<typeof colours>;

function colours(box: HTMLElement) {
  const styles = getComputedStyle(box);
  const of = (name: string): string => styles.getPropertyValue(`--${name}`).trim();
  return {
    text: of("muted"),
    grid: of("line"),
    observed: of("observed"),
    said: of("said"),
    forecast: of("forecast"),
    band: of("band"),
    bandFill: of("band-fill"),
  };
}

function frame(box: HTMLElement, rows: Row[], now: number, ink: Ink, height: number): Omit<uPlot.Options, "series"> {
  const axis = { stroke: ink.text, grid: { stroke: ink.grid, width: 1 }, ticks: { stroke: ink.grid, width: 1 }, font: "12px system-ui, sans-serif" };
  return {
    width: Math.max(200, box.clientWidth),
    height,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { range: [rows[0]!.time / 1000, rows.at(-1)!.time / 1000] } },
    axes: [
      { ...axis, size: 30, incrs: [1800, 3600], space: 44, values: (_, ticks) => ticks.map((tick) => clock(tick * 1000)) },
      { ...axis, size: 40, space: 28 },
    ],
    hooks: { drawClear: [(plot) => hatch(plot, rows, ink.text)], draw: [(plot) => line(plot, now / 1000, ink.text)] },
  };
}

/** Times at which the place was not or will not be seen are hatched: an empty chart would look dry. */
function hatch(plot: uPlot, rows: Row[], colour: string): void {
  const { top, height } = plot.bbox;
  plot.ctx.save();
  plot.ctx.strokeStyle = colour;
  plot.ctx.globalAlpha = 0.5;
  for (const row of rows.filter(isUnseen)) {
    const [from, to] = [plot.valToPos(row.time / 1000 - 300, "x", true), plot.valToPos(row.time / 1000, "x", true)];
    plot.ctx.beginPath();
    plot.ctx.rect(from, top, to - from, height);
    plot.ctx.save();
    plot.ctx.clip();
    plot.ctx.beginPath();
    for (let y = top - 20; y < top + height + 20; y += 7) {
      // in phase from one step to the next
      plot.ctx.moveTo(from, y + (from % 7));
      plot.ctx.lineTo(to, y + (from % 7) - (to - from));
    }
    plot.ctx.stroke();
    plot.ctx.restore();
  }
  plot.ctx.restore();
}

function line(plot: uPlot, at: number, colour: string): void {
  const { left, top, width, height } = plot.bbox;
  const x = Math.round(plot.valToPos(at, "x", true)) + 0.5;
  if (x < left || x > left + width) return;
  plot.ctx.save();
  plot.ctx.strokeStyle = colour;
  plot.ctx.setLineDash([4, 4]);
  plot.ctx.beginPath();
  plot.ctx.moveTo(x, top);
  plot.ctx.lineTo(x, top + height);
  plot.ctx.stroke();
  plot.ctx.restore();
}
