/**
 * One region's rain: the run on show and its frames.
 *
 * A new run is fetched and decoded whole before it replaces the one on show, so nothing flickers and no time lacks its
 * frame; another product replaces the old one as soon as the frame looked at is there.
 */
import * as api from "./api";
import { heard } from "./clock";
import type { Palette, Timeline } from "./contract";
import { Frames } from "./frames";
import { gaps } from "./gaps";
import { FILLED, imageOf, onMap } from "./products";

export interface Wanted {
  product: string;
  palettes: Palette[];
  palette: string | null;
  /** Valid time looked at, ms; null is the newest observation. */
  time: number | null;
}

interface Shown {
  timeline: Timeline;
  product: string;
  urls: (string | null)[];
  /** Where satellites filled, to lay over the rain. */
  filled: (string | null)[];
}

/** What is drawn of one time. */
export interface Frame {
  rain: ImageBitmap;
  filled: ImageBitmap | null;
}

/** Pixels of a frame: two hours and two hours of it are then less than 300 MB. */
const MOST_PIXELS = 1_400_000;

export class Feed {
  shown: Shown | null = null;
  /** Why there is nothing, when the service says so. */
  refused: api.ApiError | null = null;
  readonly #frames = new Frames(MOST_PIXELS);
  /** True while frames of the run on show are still coming. */
  loading = false;
  #bringing = 0;
  #refreshing: Promise<void> | null = null;

  constructor(
    readonly region: string,
    private readonly wanted: () => Wanted,
    private readonly changed: (feed: Feed) => void,
  ) {}

  /** Ask for the newest run and bring it on; asked again meanwhile, the one under way counts. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  /** Another product or palette is wanted. */
  async rewant(): Promise<void> {
    if (this.shown) await this.#bring(this.shown.timeline, false);
  }

  index(time: number | null): number {
    return this.shown ? indexOf(this.shown.timeline, time) : -1;
  }

  /** The frame of exactly that valid time: null when the run has none, or it is not decoded yet. */
  frameAt(time: number): Frame | null {
    const at = this.shown?.timeline.steps.findIndex((step) => Date.parse(step.valid_time) === time) ?? -1;
    const [url, over] = [this.shown?.urls[at], this.shown?.filled[at]];
    const rain = url ? this.#frames.get(url) : null;
    const filled = over ? this.#frames.get(over) : null;
    // rain that a satellite saw is not shown as the radar's while its mark is on its way
    return rain && (filled || !over || !this.loading) ? { rain, filled } : null;
  }

  /** Frames decoded, of all; and whether more are on their way. */
  progress(): { done: number; all: number; busy: boolean } {
    const urls = this.shown ? wholly(this.shown.urls, this.shown.filled, 0) : [];
    return { done: this.#frames.count(urls), all: urls.length, busy: this.loading };
  }

  async #refresh(): Promise<void> {
    try {
      const timeline = complete(await api.timeline(this.region));
      this.refused = null;
      heard(timeline.base_time, timeline.age_seconds);
      const same = this.shown !== null && identity(this.shown.timeline) === identity(timeline);
      if (same && this.shown) this.shown.timeline = timeline;
      const { done, all } = this.progress();
      if (!same || done < all) await this.#bring(timeline, true);
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error;
      this.refused = error;
      if (error.away && !(await this.#isYoung())) throw error;
    } finally {
      this.changed(this);
    }
  }

  /** True when the service answers, and has simply not made a run of this region yet. */
  async #isYoung(): Promise<boolean> {
    const regions = await api.regions().catch(() => []);
    return regions.some(({ name, newest_base_time }) => name === this.region && newest_base_time === null);
  }

  async #bring(timeline: Timeline, whole: boolean): Promise<void> {
    const turn = ++this.#bringing;
    const current = (): boolean => turn === this.#bringing;
    const { product: asked, palettes, palette, time } = this.wanted();
    const product = onMap(timeline, asked);
    const urls = timeline.steps.map((step) => imageOf(step, product, palettes, palette));
    const filled = timeline.steps.map((step) => step.images[FILLED] ?? null);
    const from = indexOf(timeline, time);
    await Promise.all(present([urls[from]!, filled[from]!]).map((url) => this.#frames.load(url)));
    const load = (): Promise<void> => this.#frames.loadAll(wholly(urls, filled, from), current, () => this.changed(this));
    if (whole && this.shown) await load();
    if (!current()) return;
    this.shown = { timeline, product, urls, filled };
    this.loading = true;
    this.changed(this);
    await load();
    if (!current()) return;
    this.loading = false;
    this.#frames.keepOnly(wholly(urls, filled, 0));
    this.changed(this);
  }
}

/** The same timeline, in order, without a gap: a time that was not observed is a step without an image. */
export function complete(timeline: Timeline): Timeline {
  const known = new Map(timeline.steps.map((step) => [Date.parse(step.valid_time), step]));
  for (const time of gaps([...known.keys()], Date.parse(timeline.base_time))) {
    known.set(time, { valid_time: new Date(time).toISOString(), kind: "observed", lead_minutes: null, images: {} });
  }
  return { ...timeline, steps: [...known].sort(([one], [other]) => one - other).map(([, step]) => step) };
}

/** What tells one run on show from another: an observation that came late adds a step. */
export const identity = ({ region, base_time, published_at, steps }: Timeline): string =>
  `${region} ${base_time} ${published_at} ${steps.length}`;

/** The step of that time, or the nearest; for null the newest observation. */
export function indexOf(timeline: Timeline, time: number | null): number {
  const times = timeline.steps.map((step) => Date.parse(step.valid_time));
  if (time === null) return Math.max(0, timeline.steps.filter((step) => step.kind === "observed").length - 1);
  return times.reduce((best, at, k) => (Math.abs(at - time) < Math.abs(times[best]! - time) ? k : best), 0);
}

const present = (urls: (string | null)[]): string[] => urls.filter((url) => url !== null);

/** All images, each step's mark after its rain: from where the reader looks on to the end, then from the start. */
function wholly(urls: (string | null)[], filled: (string | null)[], from: number): string[] {
  const steps = urls.map((url, k) => [url, filled[k] ?? null]);
  return present([...steps.slice(from), ...steps.slice(0, from)].flat());
}
