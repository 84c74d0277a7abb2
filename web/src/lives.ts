/** The lives of models: every step, who decided it, when, why and on which numbers; older ones a page at a time. */
import * as api from "./api";
import type { Plan, Transition } from "./contract";
import { el, table } from "./dom";
import { stateName } from "./stateline";
import { dayUtc, number, text } from "./text";

const PAGE = 20;

export class Lives {
  /** Newest first. */
  #steps: Transition[] = [];
  #hasOlder = false;
  readonly #box = el("div", { id: "lives" });

  /** Look for news; what has been turned back to stays. */
  async refresh(): Promise<HTMLElement[]> {
    const found = await api.transitions(PAGE, null);
    const last = found.at(-1)?.id ?? 0;
    const known = this.#steps.findIndex(({ id }) => id < last);
    const adjoins = this.#steps.some(({ id }) => id >= last);
    if (adjoins && known >= 0) this.#steps = [...found, ...this.#steps.slice(known)];
    else {
      this.#steps = found;
      this.#hasOlder = found.length === PAGE;
    }
    this.#draw();
    return [this.#steps.length ? this.#box : el("p", { class: "hint" }, text("lives.none"))];
  }

  async #older(): Promise<void> {
    const found = await api.transitions(PAGE, this.#steps.at(-1)?.id ?? null).catch(() => null);
    if (!found) return;
    this.#steps.push(...found);
    this.#hasOlder = found.length === PAGE;
    this.#draw();
  }

  #draw(): void {
    const heads = ["UTC", text("model"), text("status"), text("region"), text("lives.who"), text("status.reason"), text("lives.numbers")];
    const open = new Set([...this.#box.querySelectorAll("details[open]")].map(({ id }) => id));
    const rows = this.#steps.map((step) => [
      dayUtc(step.at),
      step.model,
      el("span", { class: `chip ${CHIPS[step.state] ?? "quiet"}` }, stateName(step.state)),
      step.regions.join(", ") || text("lives.all", { family: step.family }),
      step.who,
      el("span", { class: "long" }, step.why),
      evidence(step, open.has(`numbers-${step.id}`)),
    ]);
    const button = el("button", { type: "button", id: "older", onclick: () => void this.#older() }, text("lives.older"));
    this.#box.replaceChildren(table(text("status.models"), heads, rows), ...(this.#hasOlder ? [button] : []));
  }
}

const CHIPS: Record<string, string> = { promoted: "fresh", canary: "late", "rolled-back": "old" };

function evidence(step: Transition, open: boolean): HTMLElement | string {
  const told = flat(step.numbers);
  if (told.length === 0) return "–";
  const pairs = told.map(([name, value]) => el("li", {}, `${name}: ${value}`));
  return el("details", { id: `numbers-${step.id}`, open }, el("summary", {}, text("lives.count", { count: told.length })), el("ul", {}, ...pairs));
}

/** Numbers by their path: `regimes dry cycles`. */
export function flat(numbers: Record<string, unknown>, path = ""): [string, string][] {
  return Object.entries(numbers).flatMap(([name, value]): [string, string][] => {
    const at = `${path}${name}`;
    if (Array.isArray(value)) return [[at, value.map(said).join(" … ")]];
    return value !== null && typeof value === "object" ? flat(value as Record<string, unknown>, `${at} `) : [[at, said(value)]];
  });
}

const said = (value: unknown): string => (typeof value === "number" ? number(value, 4) : value === null ? "–" : String(value));

export function plansTable(plans: Plan[]): HTMLElement[] {
  if (plans.length === 0) return [];
  const rows = plans.toReversed().map((plan) => [plan.digest.slice(0, 12), plan.model, plan.runtime, plan.precision, versions(plan)]);
  return [table(text("status.plans"), [text("status.plan"), text("model"), text("rung"), text("status.precision"), text("status.versions")], rows)];
}

const versions = ({ versions }: Plan): string => Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
