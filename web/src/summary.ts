/** The summary as a sentence in the reader's language, from the summary's facts. */
import { serviceNow } from "./clock";
import type { Summary } from "./contract";
import { clock, type Key, number, text } from "./text";

export function sentence(summary: Summary): string {
  if (summary.state === "over") return text("summary.over");
  if (summary.state === "not_seen" || (summary.state === "dry" && summary.until === null)) return text("summary.notseen");
  return [rain(summary), amount(summary), chance(summary)].filter((part) => part !== "").join(" ");
}

const MINUTES = 60_000;
/** A run tells of two hours from its base time, and is late when older than ten minutes. */
const WHOLE = 110 * MINUTES;

function rain(summary: Summary): string {
  const { starts, ends, until } = summary;
  return text(keyOf(summary), { starts: starts ? clock(starts) : "", ends: ends ? clock(ends) : "", until: until ? clock(until) : "" });
}

function keyOf({ state, ends, until }: Summary): Key {
  if (state === "rain_expected") return ends ? "summary.expected.until" : "summary.expected";
  if (ends) return "summary.raining.until";
  const kind = state === "dry" ? "summary.dry" : "summary.raining";
  return until && Date.parse(until) - serviceNow() < WHOLE ? `${kind}.known` : kind;
}

function amount({ state, starts, amount_low: low, amount_high: high, unit }: Summary): string {
  if (state === "dry" || low === null || high === null || high < 0.05) return "";
  const [from, to] = [number(low), number(high)];
  const hour = text(isSoon(starts) ? "summary.hour.next" : "summary.hour.first");
  return text(from === to ? "summary.amount.one" : "summary.amount", { low: from, high: to, unit, hour });
}

/** The service's amounts are of the next hour, or of the rain's first one when it begins later than that. */
function isSoon(starts: string | null): boolean {
  const step = Math.floor(serviceNow() / (5 * MINUTES)) * 5 * MINUTES;
  return starts === null || Date.parse(starts) - step < 60 * MINUTES;
}

function chance({ probability }: Summary): string {
  return probability === null ? "" : text("summary.chance", { percent: number(probability * 100, 0) });
}
