/** The time line: one slider over the past two hours and the next two, with now marked, and the play controls. */
import { serviceNow } from "./clock";
import type { Step, Timeline } from "./contract";
import { byId, el, option } from "./dom";
import { type Player, SPEEDS } from "./player";
import { clock, text, zoneName } from "./text";

const HALF_HOUR = 30 * 60_000;

export class TimelineBar {
  readonly #slider = byId<HTMLInputElement>("slider");
  readonly #play = byId<HTMLButtonElement>("play");
  readonly #speed = byId<HTMLSelectElement>("speed");
  #drawn = "";

  constructor(private readonly player: Player) {
    this.#slider.addEventListener("input", () => {
      player.seek(Number(this.#slider.value));
    });
    this.#play.addEventListener("click", () => player.toggle());
    byId("earlier").addEventListener("click", () => this.#step(-1));
    byId("later").addEventListener("click", () => this.#step(1));
    byId("tonow").addEventListener("click", () => player.toNow());
    this.#speed.replaceChildren(...SPEEDS.map((fps, k) => option(String(fps), `${2 ** k}×`, fps === player.fps)));
    this.#speed.addEventListener("change", () => (player.fps = Number(this.#speed.value)));
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault(); // the address holds the view
      this.#slider.focus();
    });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show the playhead on a run's steps; called at each change of step. */
  update(timeline: Timeline | null): void {
    const playing = this.player.playing;
    this.#play.dataset["playing"] = String(playing);
    this.#label(this.#play, text(playing ? "pause" : "play"));
    byId("timebar").toggleAttribute("data-empty", !timeline);
    const step = timeline?.steps[this.player.index];
    if (!timeline || !step) return;
    this.#draw(timeline);
    this.#slider.value = String(this.player.index);
    const kind = described(step);
    const source = seenBy(step);
    this.#slider.setAttribute("aria-valuetext", [clock(step.valid_time), kind, source].filter(Boolean).join(", "));
    byId("clock").textContent = clock(step.valid_time);
    byId("zone-name").textContent = zoneName(step.valid_time);
    byId("kind").textContent = kind;
    byId("seen-by").textContent = source;
    byId("seen-by").title = source && text("place.source", { source });
    byId("timebar").dataset["kind"] = step.kind;
  }

  /** Move the mark of now: time goes on between runs. */
  mark(timeline: Timeline | null): void {
    if (timeline) byId("nowmark").style.left = `${percent(timeline, serviceNow())}%`;
  }

  progress({ done, all, busy }: { done: number; all: number; busy: boolean }): void {
    const node = byId("progress");
    node.hidden = !busy;
    if (busy) node.textContent = text("loading", { done, all });
  }

  /** Words and times in another language or zone. */
  retranslate(): void {
    this.#drawn = "";
  }

  #draw(timeline: Timeline): void {
    const first = Date.parse(timeline.steps[0]!.valid_time);
    const last = Date.parse(timeline.steps.at(-1)!.valid_time);
    const drawn = `${first} ${last} ${timeline.steps.length} ${timeline.base_time}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#slider.max = String(timeline.steps.length - 1);
    byId("past").style.width = `${percent(timeline, Date.parse(timeline.base_time))}%`;
    const ticks: HTMLElement[] = [];
    for (let time = Math.ceil(first / HALF_HOUR) * HALF_HOUR; time <= last; time += HALF_HOUR) {
      const tick = el("span", { class: time % (2 * HALF_HOUR) ? "tick half" : "tick" }, clock(time));
      tick.style.left = `${percent(timeline, time)}%`;
      ticks.push(tick);
    }
    byId("ticks").replaceChildren(...ticks);
    this.mark(timeline);
  }

  #step(by: number): void {
    this.player.pause();
    this.player.seek(this.player.index + by);
  }

  /** Space and arrows work wherever no control of its own takes them. */
  #key(event: KeyboardEvent): void {
    const own = (event.target as Element).closest("a, button, select, summary, input, [tabindex='0']");
    const free = own === null || own === this.#slider || (event.key === " " && own instanceof HTMLCanvasElement);
    if (!free || event.ctrlKey || event.metaKey || event.altKey || byId("map-page").hidden) return;
    const act = {
      " ": () => this.player.toggle(),
      ArrowLeft: () => this.#step(-1),
      ArrowRight: () => this.#step(1),
      Home: () => this.player.seek(0),
      End: () => this.player.seek(this.player.last),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #label(button: HTMLButtonElement, label: string): void {
    button.setAttribute("aria-label", label);
    button.title = label;
  }
}

function described(step: Step): string {
  if (step.kind === "forecast") return text("forecast", { minutes: step.lead_minutes ?? 0 });
  return text(step.images["observed"] ? "observed" : "unobserved");
}

/** Who saw what is shown; empty for what nobody did (yet). */
export function seenBy({ images, source }: Step): string {
  return images["observed"] ? (source ?? "") : "";
}

/** Where the slider stands at that time: it moves step by step, and steps need not be equally long. */
export function percent({ steps }: Timeline, time: number): number {
  const times = steps.map((step) => Date.parse(step.valid_time));
  const next = times.findIndex((one) => one > time);
  if (next === 0 || times.length < 2) return 0;
  if (next < 0) return 100;
  const [from, to] = [times[next - 1]!, times[next]!];
  return (100 * (next - 1 + (time - from) / (to - from))) / (times.length - 1);
}
