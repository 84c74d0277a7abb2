/** One place through time: what was observed, what had been forecast for it, and what is forecast now. */
import type { Column, History, PointForecast } from "./contract";
import { gaps } from "./gaps";
import { kindOf } from "./products";

/** null is not seen; undefined is not asked or not there. */
type Value = number | null | undefined;

export interface Row {
  time: number;
  kind: "observed" | "forecast";
  observed?: Value;
  /** What the run of half an hour before had said for this time. */
  said?: Value;
  mean?: Value;
  p10?: Value;
  p50?: Value;
  p90?: Value;
  /** By product, 0 to 1. */
  chances: Record<string, Value>;
}

export interface Series {
  rows: Row[];
  chances: string[];
  band: boolean;
}

export const isUnseen = (row: Row): boolean => (row.kind === "observed" ? row.observed : row.mean) === null;

export function series(point: PointForecast, history: History | null): Series {
  const { minutely_5: columns } = point;
  const column = (name: string, k: number): Value => (columns[name] as Column | undefined)?.[k];
  const chances = Object.keys(columns)
    .filter((name) => kindOf(name) === "probability")
    .sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)));
  const said = new Map(history?.forecast.map((one) => [Date.parse(one.valid_time), one.rain_mean]));
  const base = Date.parse(point.base_time);
  const seen = new Map(history?.observed.map((one) => [Date.parse(one.valid_time), one.rain_rate]));
  const times = [...seen.keys()].filter((time) => time <= base);
  const past = [...times, ...(times.length ? gaps(times, base) : [])]
    .sort((one, other) => one - other)
    .map((time): Row => ({ time, kind: "observed", observed: seen.get(time) ?? null, said: said.get(time), chances: {} }));
  const future = columns.end.map((end, k): Row => ({
    time: Date.parse(end),
    kind: "forecast",
    mean: columns.rain_mean[k],
    p10: column("rain_p10", k),
    p50: column("rain_p50", k),
    p90: column("rain_p90", k),
    chances: Object.fromEntries(chances.map((name) => [name, column(name, k)])),
  }));
  return { rows: [...past, ...future], chances, band: "rain_p10" in columns && "rain_p90" in columns };
}
