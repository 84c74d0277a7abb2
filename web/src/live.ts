/** Hears of new runs: server-sent events, and a look now and then for what they may have missed. */

const LOOK_MS = 60_000;
const RETRY_MS = 3_000;
const LONGEST_RETRY_MS = 30_000;

interface Told {
  /** Look for news of one region, or of all. Rejects when the service is away. */
  refresh: (region: string | null) => Promise<void>;
  /** The connection was lost or came back. */
  connected: (yes: boolean) => void;
}

export class Live {
  #events: EventSource | null = null;
  #timer = 0;
  #retry = RETRY_MS;

  constructor(private readonly told: Told) {}

  start(): void {
    this.#listen();
    document.addEventListener("visibilitychange", () => void (document.hidden || this.look()));
    addEventListener("online", () => void this.look());
    this.#again(LOOK_MS);
  }

  /** Look now, and say whether anything answered. */
  async look(region: string | null = null): Promise<void> {
    try {
      await this.told.refresh(region);
      this.told.connected(true);
      if (this.#events?.readyState === EventSource.CLOSED) this.#listen();
      this.#retry = RETRY_MS;
      this.#again(LOOK_MS);
    } catch {
      this.told.connected(false);
      // not all pages at once: the service that comes back has to answer them
      this.#again(this.#retry * (0.5 + Math.random()));
      this.#retry = Math.min(2 * this.#retry, LONGEST_RETRY_MS);
    }
  }

  #again(delay: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.look(), delay);
  }

  #listen(): void {
    this.#events?.close();
    const events = new EventSource("/v1/events");
    events.addEventListener("open", () => this.#retry > RETRY_MS && void this.look());
    events.addEventListener("run", (event) => void this.look(regionOf(event)));
    events.addEventListener("state", () => void this.look());
    // the browser connects again by itself; what counts is whether the service answers a question
    events.addEventListener("error", () => this.#again(RETRY_MS / 3));
    this.#events = events;
  }
}

function regionOf(event: MessageEvent<string>): string | null {
  try {
    return (JSON.parse(event.data) as { region?: string }).region ?? null;
  } catch {
    return null;
  }
}
