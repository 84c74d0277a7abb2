/** The status view: what was published and what was not, how long it took, and why it may be trusted. */
import * as api from "./api";
import type { Check, Plan, Region, Run, Slot } from "./contract";
import { el, svg, table } from "./dom";
import { Lives, plansTable } from "./lives";
import { title } from "./products";
import { liveSkill, publishedSkill } from "./skill";
import { flag, served } from "./stateline";
import { dayUtc, number, text, utc } from "./text";

const HOUR = 3_600_000;
const CELL = 13;
const RUNS = 12;
const REASONS = 8;

const lives = new Lives();
let turn = 0;

/** Read everything and draw it; a list that cannot be read says why and leaves the others alone. */
export async function drawStatus(page: HTMLElement): Promise<void> {
  const mine = ++turn;
  const regions = await api.regions().catch(() => []);
  const sections = await Promise.all([
    section(text("status.slots"), async () => slotsOf(regions, await api.slots())),
    section(text("status.scores"), async () => [
      ...(await each(regions, async ({ name, model }) => liveSkill(await api.skill(name), model))),
      ...publishedSkill(await api.scorecard()),
    ]),
    section(text("status.stages"), () => each(regions, async ({ name }) => stages(await api.runs(name, RUNS)))),
    section(text("status.checks"), async () => checks(await api.checks(), await api.plans())),
    section(text("status.models"), () => lives.refresh()),
    section(text("status.plans"), async () => plansTable(await api.plans())),
  ]);
  if (mine !== turn) return; // a newer one is on its way
  const scrolled = page.scrollTop;
  const restore = keep(page);
  page.replaceChildren(el("h2", {}, text("status.title")), ...sections);
  restore();
  page.scrollTop = scrolled;
}

/** What the reader has opened and where the focus is, to be restored after all has been drawn anew. */
function keep(page: HTMLElement): () => void {
  const all = (): HTMLElement[] => [...page.querySelectorAll<HTMLElement>("details, button, summary, [tabindex]")];
  const open = new Set([...page.querySelectorAll<HTMLDetailsElement>("details:not(#lives details)")].flatMap((one, k) => (one.open ? [k] : [])));
  const focus = all().indexOf(document.activeElement as HTMLElement);
  return () => {
    [...page.querySelectorAll<HTMLDetailsElement>("details:not(#lives details)")].forEach((one, k) => open.has(k) && (one.open = true));
    if (focus >= 0) all()[focus]?.focus();
  };
}

async function section(heading: string, content: () => Promise<HTMLElement[]>): Promise<HTMLElement> {
  let made: HTMLElement[];
  try {
    made = await content();
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    made = [el("p", { class: "chip late" }, error.message)];
  }
  return el("section", {}, el("h3", {}, heading), ...(made.length ? made : [nothing()]));
}

const nothing = (): HTMLElement => el("p", { class: "hint" }, text("status.none"));

async function each(regions: Region[], content: (region: Region) => Promise<HTMLElement[]>): Promise<HTMLElement[]> {
  const made = await Promise.all(regions.map(content));
  const columns = regions.map(({ title }, k) => el("div", {}, el("h4", {}, title), ...(made[k]!.length ? made[k]! : [nothing()])));
  return [el("div", { class: "side" }, ...columns)];
}

function slotsOf(regions: Region[], slots: Slot[]): HTMLElement[] {
  const states = ["published", "degraded", "refused", "missing"] as const;
  const key = el("ul", { class: "key" }, ...states.map((state) => el("li", {}, el("i", { class: `slot ${state}` }), text(`status.${state}`))));
  const grids = regions.map((region) => {
    const own = slots.filter((slot) => slot.region === region.name);
    const counts = Object.fromEntries(states.map((state) => [state, own.filter((slot) => slot.state === state).length]));
    const told = text("status.counts", counts);
    if (own.length === 0) return el("div", {}, el("h4", {}, region.title), nothing());
    const scroll = el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": region.title }, grid(own, `${region.title}: ${told}`));
    return el("div", {}, el("h4", {}, region.title), el("p", { class: "hint" }, told), scroll);
  });
  const bad = slots.filter(({ state }) => state === "refused" || state === "degraded").sort((a, b) => b.slot.localeCompare(a.slot));
  const rows = bad.slice(0, REASONS).map((slot) => [dayUtc(slot.slot), slot.region, text(`status.${slot.state}`), slot.reason ?? slot.flags.map(flag).join(", ")]);
  const heads = ["UTC", text("region"), text("status"), text("status.reason")];
  return [key, el("div", { class: "side" }, ...grids), ...(rows.length ? [el("h4", {}, text("status.reasons")), table(text("status.reasons"), heads, rows)] : [])];
}

/** A column an hour, twelve slots down it: a bad spell is a streak, a bad slot a dot. */
function grid(slots: Slot[], label: string): SVGElement {
  const times = slots.map(({ slot }) => Date.parse(slot));
  const first = Math.floor(Math.min(...times) / HOUR) * HOUR;
  const columns = Math.floor((Math.max(...times) - first) / HOUR) + 1;
  const cells = slots.map((slot) => {
    const after = Date.parse(slot.slot) - first;
    const [x, y] = [Math.floor(after / HOUR) * CELL, Math.floor((after % HOUR) / 300_000) * CELL];
    const why = [utc(slot.slot), text(`status.${slot.state}`), slot.reason ?? slot.flags.map(flag).join(", ")];
    // smaller when degraded: not by colour alone
    const edge = slot.state === "degraded" ? 3 : 1;
    return svg("rect", { x: x + edge, y: y + edge, width: CELL - 2 * edge, height: CELL - 2 * edge, rx: 2, class: `slot ${slot.state}` }, tip(why.filter(Boolean).join(" · ")));
  });
  const hours = Array.from({ length: Math.ceil(columns / 3) }, (_, k) => {
    const node = svg("text", { x: k * 3 * CELL + 1, y: 12 * CELL + 14 });
    node.textContent = utc(first + k * 3 * HOUR).slice(0, 5);
    return node;
  });
  return svg("svg", { width: columns * CELL + 24, height: 12 * CELL + 18, role: "img", "aria-label": label, class: "slots" }, ...cells, ...hours);
}

function tip(words: string): SVGElement {
  const node = svg("title");
  node.textContent = words;
  return node;
}

function stages(runs: Run[]): HTMLElement[] {
  if (runs.length === 0) return [];
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.stages)))];
  const rows = runs.map((run) => {
    const seconds = names.map((name) => run.stages[name] ?? 0);
    const total = seconds.reduce((sum, one) => sum + one, 0);
    return [utc(run.base_time), served(run), run.rung, ...seconds.map((one) => number(one, 3)), number(total, 2), run.flags.map(flag).join(", ")];
  });
  const heads = [text("base"), text("model"), text("rung"), ...names, text("status.total"), ""];
  return [table(text("status.stages"), heads, rows)];
}

/** A row for each plan and what ran it, by its worst output; every output of every case behind it. */
function checks(found: Check[], plans: Plan[]): HTMLElement[] {
  if (found.length === 0) return [];
  const model = (digest: string): string => plans.find((plan) => plan.digest === digest)?.model ?? "–";
  const rows = [...Map.groupBy(found, (check) => `${check.plan} ${ranBy(check)}`).values()].map((own) => {
    const { plan } = own[0]!;
    const failed = own.filter(({ passed }) => !passed).length;
    const cases = new Set(own.map((check) => check.case)).size;
    return [
      model(plan),
      plan.slice(0, 12),
      ranBy(own[0]!),
      dayUtc(own[0]!.checked_at),
      number(cases),
      number(own.length),
      decibel(worst(own.map(({ psnr_all }) => psnr_all))),
      decibel(worst(own.map(({ psnr_wet }) => psnr_wet))),
      csiLoss(most(own.map(({ csi_difference }) => csi_difference))),
      el("span", { class: failed ? "chip old" : "chip quiet" }, failed ? `${text("status.failed")} ${failed}` : text("status.passed")),
    ];
  });
  const heads = [text("model"), text("status.plan"), text("status.runtime"), "UTC", text("status.cases"), text("status.outputs"), text("status.worst"), text("status.worstwet"), text("status.worstcsi"), ""];
  const all = el("details", {}, el("summary", {}, text("table")), everyCheck(found));
  return [table(text("status.checks"), heads, rows), all];
}

function ranBy({ runtime, precision }: Check): string {
  return `${runtime} ${precision}`.trim() || "–";
}

function worst(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length ? Math.min(...known) : null;
}

function most(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length ? Math.max(...known) : null;
}

function csiLoss(value: number | null): string {
  return value === null ? "–" : number(value, 4);
}

function everyCheck(found: Check[]): HTMLElement {
  const rows = found.map((check) => [
    dayUtc(check.checked_at),
    check.plan.slice(0, 12),
    ranBy(check),
    check.case,
    title(check.product),
    decibel(check.psnr_all),
    decibel(check.psnr_wet),
    csiLoss(check.csi_difference),
    el("span", { class: check.passed ? "chip quiet" : "chip old" }, text(check.passed ? "status.passed" : "status.failed")),
  ]);
  const heads = ["UTC", text("status.plan"), text("status.runtime"), text("status.case"), text("status.product"), text("status.psnr"), text("status.psnrwet"), text("status.worstcsi"), ""];
  return table(text("status.checks"), heads, rows);
}

/** 200 dB stands for no difference at all. */
function decibel(value: number | null): string {
  return value === null ? "–" : value >= 200 ? text("status.equal") : number(value, 1);
}
