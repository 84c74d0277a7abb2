/** The state, always in sight: how old, made by what, from what, and whether the service still answers. */
import { ageMinutes, freshness } from "./clock";
import type { Timeline } from "./contract";
import { byId, el } from "./dom";
import { age, isKey, number, text, utc } from "./text";

/** Flags come as a name, some with a value behind a colon. */
export function flag(name: string): string {
  const [kind, value] = name.split(":");
  const key = `flag.${kind}`;
  const said = isKey(key) ? text(key) : (kind ?? name);
  return value ? `${said} (${value})` : said;
}

/** They say how an input came, not that the run is any worse for it. */
const HARMLESS = new Set(["all-dry", "out-of-order", "revision"]);

/** A model's state, in words. */
export function stateName(state: string): string {
  const key = `state.${state}`;
  return isKey(key) ? text(key) : state;
}

/** The model that served, and its state where it is on trial. */
export function served({ model, state }: { model: string; state: string }): string {
  return state === "promoted" ? model : `${model} (${stateName(state)})`;
}

export function drawState(timeline: Timeline | null, connected: boolean, refused: string | null): void {
  drawFacts(timeline);
  drawNotice(timeline, connected, refused);
}

function drawFacts(timeline: Timeline | null): void {
  const node = byId("state");
  if (!timeline) return node.replaceChildren();
  const minutes = ageMinutes(timeline.base_time);
  const state = freshness(minutes);
  const word = state === "fresh" ? "" : ` · ${text(state === "late" ? "age.late" : "age.old")}`;
  const facts = [
    fact(text("base"), utc(timeline.base_time)),
    el("span", { class: `chip ${state}`, id: "age", "data-state": state }, age(minutes) + word),
    fact(text("rung"), timeline.rung),
    fact(text("model"), [served(timeline), timeline.members > 1 ? text("members.count", { count: timeline.members }) : ""].filter(Boolean).join(", ")),
    el("span", { class: "fact", id: "coverage" }, el("b", {}, text("coverage")), ` ${covered(timeline)}`),
    ...(timeline.flags.length === 0
      ? [el("span", { class: "chip quiet" }, text("flags.none"))]
      : timeline.flags.map((name) => el("span", { class: HARMLESS.has(name) ? "chip quiet" : "chip late", "data-flag": name }, flag(name)))),
  ];
  const written = facts.map((f) => f.outerHTML).join("");
  if (node.dataset["written"] === written) return;
  node.dataset["written"] = written;
  node.replaceChildren(...facts);
}

/** How much of the region is shown, and how much of that only by satellite. */
export function covered({ coverage, satellite }: { coverage: number; satellite: number }): string {
  const seen = percent(coverage);
  return satellite > 0 ? text("coverage.satellite", { seen, satellite: percent(satellite) }) : `${seen}\u00a0%`;
}

/** Whole percent; what is not all is never said to be all, nor what is something nothing. */
function percent(share: number): string {
  const whole = Math.round(share * 100);
  if (share > 0 && whole === 0) return "< 1";
  return number(share < 1 && whole === 100 ? 99 : whole, 0);
}

function drawNotice(timeline: Timeline | null, connected: boolean, refused: string | null): void {
  const node = byId("notice");
  const [kind, words] = notice(timeline, connected, refused);
  node.hidden = words === "";
  node.className = kind;
  // an alert is read out when it is written: once for each thing that goes wrong
  if (node.textContent !== words) node.textContent = words;
}

function notice(timeline: Timeline | null, connected: boolean, refused: string | null): [kind: string, words: string] {
  if (!connected) return ["old", timeline ? text("away", { time: utc(timeline.base_time) }) : text("away.first")];
  if (!timeline) return ["late", refused ?? ""];
  const state = freshness(ageMinutes(timeline.base_time));
  return state === "fresh" ? ["", ""] : [state, text(state)];
}

function fact(name: string, value: string): HTMLElement {
  return el("span", { class: "fact" }, el("b", {}, name), ` ${value}`);
}
