/** The playhead: which step is looked at, and its way through time. Knows nothing of the page. */

/** Frames per second of the three speeds; the fastest is above the twenty that we promise. */
export const SPEEDS = [6, 12, 24] as const;
const HOLD_SECONDS = 1;

export class Player {
  index = 0;
  playing = false;
  fps: number = SPEEDS[0];
  #times: number[] = [];
  #now = 0;
  #following = true;
  #once = false;
  #due = 0;
  #held = 0;

  /**
   * @param ready - whether a step's frame is decoded: playing waits for it rather than skip it
   * @param changed - called after each change of step or of playing
   */
  constructor(
    private readonly ready: (index: number) => boolean,
    private readonly changed: () => void,
  ) {}

  /** The valid time looked at; null while it follows the newest observation. */
  get time(): number | null {
    return this.#following ? null : (this.#times[this.index] ?? null);
  }

  get last(): number {
    return Math.max(0, this.#times.length - 1);
  }

  /** Take the steps of a run, and stay at the valid time looked at: nearest, if that is gone. */
  setTimes(times: number[], now: number, wanted: number | null): void {
    const stay = this.playing ? (this.#times[this.index] ?? wanted) : wanted;
    this.#times = times;
    this.#now = now;
    this.#following = !this.playing && stay === null;
    this.index = stay === null ? now : nearest(times, stay);
    this.changed();
  }

  seek(index: number): void {
    this.index = Math.min(this.last, Math.max(0, index));
    this.#following = !this.playing && this.index === this.#now;
    this.#held = 0;
    this.changed();
  }

  toNow(): void {
    this.playing = false;
    this.seek(this.#now);
  }

  toggle(): void {
    if (this.playing) this.pause();
    else this.play(false);
  }

  /** Play round and round, or once from now to the end and back to now. */
  play(once: boolean): void {
    if (this.last === 0) return;
    this.playing = true;
    this.#once = once;
    this.#following = false;
    this.#due = 0;
    this.#held = 0;
    if (this.index === this.last) this.index = 0;
    this.changed();
  }

  pause(): void {
    this.playing = false;
    this.#following = this.index === this.#now;
    this.changed();
  }

  /** Let `seconds` pass. */
  tick(seconds: number): void {
    if (!this.playing) return;
    this.#due += seconds * this.fps;
    if (this.#due < 1) return;
    // a late animation frame moves one step on, never two: a skipped image looks like a jump of the rain
    this.#due = Math.min(this.#due - 1, 1);
    this.#advance();
  }

  #advance(): void {
    if (this.index < this.last) {
      if (!this.ready(this.index + 1)) return;
      this.index += 1;
      this.changed();
    } else if (++this.#held >= this.fps * HOLD_SECONDS) {
      this.#held = 0;
      if (this.#once) this.toNow();
      else {
        this.index = 0;
        this.changed();
      }
    }
  }
}

/** Let the browser's time pass for a player, for as long as the page is open. */
export function animate(player: Player): void {
  let before = performance.now();
  const frame = (now: number): void => {
    player.tick(Math.min((now - before) / 1000, 1));
    before = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

function nearest(times: number[], time: number): number {
  return times.reduce((best, at, k) => (Math.abs(at - time) < Math.abs(times[best]! - time) ? k : best), 0);
}
