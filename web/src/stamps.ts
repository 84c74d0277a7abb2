/** Postage stamps: every member of the ensemble at the time looked at, side by side. */
import type { Step } from "./contract";
import { byId, el } from "./dom";
import { Frames } from "./frames";
import { isMember } from "./products";
import { text } from "./text";

/** Of a stamp: what is seen of it at twice the device's pixels. */
const MOST_PIXELS = 160_000;
/** Of all decoded stamps: those that come next in the film, as far as they fit. */
const MOST_BYTES = 96 * 2 ** 20;
const BYTES = 4;

/** Coasts and borders, so large. */
type Outline = (width: number, height: number) => HTMLCanvasElement | null;
type UrlOf = (step: Step, member: string) => string | null;

export class Stamps {
  readonly #box = byId("stamps");
  readonly #frames = new Frames(MOST_PIXELS);
  #figures: { member: string; canvas: HTMLCanvasElement }[] = [];
  #drawn = "";
  #turn = 0;
  #loading = false;
  #ahead = "";
  #step: Step | null = null;
  #urls: UrlOf = () => null;

  constructor(private readonly outline: Outline) {}

  hide(): void {
    if (this.#box.hidden) return;
    this.#box.hidden = true;
    this.#drawn = "";
    this.#turn++;
    this.#ahead = "";
    this.#loading = false;
    this.#frames.keepOnly([]);
  }

  /** Show the members of a step, and decode those that the film shows next. */
  show(steps: Step[], index: number, url: UrlOf): void {
    this.#box.hidden = false;
    this.#urls = url;
    const step = steps[index];
    this.#arrange(step?.kind === "forecast" ? membersOf(step) : []);
    this.#step = step ?? null;
    this.#draw();
    void this.#decode(steps, index);
  }

  /** True when all members of a step are decoded, or will not be had. */
  ready(step: Step): boolean {
    return !this.#loading || this.#of(step).every((url) => this.#frames.get(url) !== null);
  }

  #of(step: Step): string[] {
    return membersOf(step).flatMap((member) => this.#urls(step, member) ?? []);
  }

  /** One figure a member; the words alone where there is none. */
  #arrange(members: string[]): void {
    const arranged = `${members.join()} ${document.documentElement.lang}`;
    if (this.#box.dataset["arranged"] === arranged) return;
    this.#box.dataset["arranged"] = arranged;
    this.#drawn = "";
    this.#figures = members.map((member) => {
      const name = text("member", { number: Number(member.split("_").at(-1)) });
      return { member, canvas: el("canvas", { role: "img", "aria-label": name, width: 1, height: 1, class: "unseen" }) };
    });
    const figures = this.#figures.map(({ canvas }) => el("figure", {}, canvas, el("figcaption", {}, canvas.getAttribute("aria-label"))));
    // few large, many small; the style keeps them from becoming too small to see
    this.#box.style.setProperty("--least", `${members.length <= 4 ? 40 : members.length <= 9 ? 22 : 15}%`);
    this.#box.replaceChildren(...(figures.length ? figures : [el("p", { class: "hint" }, text("members.observed"))]));
  }

  /** Draw what is decoded; a member that is not there is hatched, never one of another time. */
  #draw(): void {
    const step = this.#step;
    if (!step) return;
    const bitmaps = this.#figures.map(({ member }) => {
      const url = this.#urls(step, member);
      return { url, bitmap: url ? this.#frames.get(url) : null };
    });
    const first = bitmaps.find(({ bitmap }) => bitmap !== null)?.bitmap;
    const outline = first ? this.outline(first.width, first.height) : null;
    const drawn = bitmaps.map(({ url, bitmap }) => `${url} ${bitmap !== null}`).join() + (outline !== null);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#figures.forEach(({ canvas }, k) => draw(canvas, bitmaps[k]!.bitmap, outline));
  }

  /** Decode from the step looked at on, round and round, as many stamps as may be kept. */
  async #decode(steps: Step[], index: number): Promise<void> {
    const film = [...steps.slice(index), ...steps.slice(0, index)].flatMap((step) => this.#of(step));
    const first = film[0];
    const ahead = `${first} ${film.length}`;
    if (first === undefined || ahead === this.#ahead) return;
    this.#ahead = ahead;
    this.#loading = true;
    const turn = ++this.#turn;
    const current = (): boolean => turn === this.#turn;
    const one = await this.#frames.load(first);
    if (!current()) return;
    const room = one ? Math.floor(MOST_BYTES / (one.width * one.height * BYTES)) : film.length;
    const wanted = film.slice(0, Math.max(room, this.#of(steps[index]!).length));
    this.#frames.keepOnly(wanted);
    await this.#frames.loadAll(wanted, current, () => this.#draw());
    if (!current()) return;
    this.#loading = false;
    this.#draw();
  }
}

const membersOf = (step: Step): string[] => Object.keys(step.images).filter(isMember).sort();

function draw(canvas: HTMLCanvasElement, bitmap: ImageBitmap | null, outline: HTMLCanvasElement | null): void {
  canvas.classList.toggle("unseen", bitmap === null);
  const { width, height } = bitmap ?? canvas;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const ink = canvas.getContext("2d")!;
  ink.clearRect(0, 0, width, height);
  if (bitmap) ink.drawImage(bitmap, 0, 0);
  if (bitmap && outline) ink.drawImage(outline, 0, 0);
}
