/** The panel of a place: sentence, charts, table, links. */
import * as api from "./api";
import { serviceNow } from "./clock";
import type { History, Place, PointForecast } from "./contract";
import { byId, el, svg, table } from "./dom";
import { FIVE_MINUTES } from "./gaps";
import { title } from "./products";
import { nameAt } from "./search";
import { isUnseen, type Row, type Series, series } from "./series";
import { sentence } from "./summary";
import { clock, number, text, utc } from "./text";

interface Point {
  lat: number;
  lon: number;
}

interface Told {
  closed: () => void;
  /** The place lies in that region. */
  found: (region: string) => void;
  /** The region to ask, of those that hold the point; null leaves the choice to the service. */
  region: (at: Point) => string | null;
  isSatellite: (source: string) => boolean;
}

export class PlacePanel {
  readonly #panel = byId("place");
  // written only when it changes: a screen reader is told of another sentence, not of each run
  readonly #summary = el("p", { id: "summary", role: "status" });
  readonly #body = el("div");
  #at: Point | null = null;
  #read: { point: PointForecast; history: History | null } | null = null;
  #tableOpen = false;
  places: Place[] = [];

  constructor(private readonly told: Told) {
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape") told.closed();
    });
    new ResizeObserver(() => this.redraw()).observe(this.#panel);
  }

  /** Look at a place, or at none. */
  async open(at: Point | null): Promise<void> {
    this.#at = at;
    this.#read = null;
    this.#panel.hidden = at === null;
    document.documentElement.toggleAttribute("data-place", at !== null);
    if (at) {
      this.#say("");
      this.#body.replaceChildren();
      this.#panel.replaceChildren(this.#head(at), this.#summary, this.#body);
      await this.refresh();
    }
  }

  focus(): void {
    this.#panel.focus();
  }

  /** Read the place again: a new run came. */
  async refresh(): Promise<void> {
    const at = this.#at;
    if (!at) return;
    this.#asked = serviceNow();
    try {
      const point = await api.forecast(at.lat, at.lon, this.told.region(at));
      const history = await api.history(at.lat, at.lon).catch(() => null);
      if (this.#at !== at) return;
      this.#read = { point, history };
      this.told.found(point.region);
      await this.#draw();
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error;
      if (this.#at === at && !(error.away && this.#read)) this.#fail(error);
    }
  }

  #asked = 0;

  /** Time goes on without a new run too, and what is said of it with it. */
  tick(): void {
    // the service's time may also jump, when its first answer comes
    if (Math.abs(serviceNow() - this.#asked) >= FIVE_MINUTES) void this.refresh();
  }

  /** Draw again what was read: language, zone, appearance or width changed. */
  redraw(): void {
    if (this.#at && this.#read && this.#panel.clientWidth !== this.#drawnWidth) void this.#draw();
  }

  restyle(): void {
    if (this.#at) this.#panel.firstElementChild?.replaceWith(this.#head(this.#at));
    this.#drawnWidth = -1;
    this.redraw();
  }

  #drawnWidth = -1;

  async #draw(): Promise<void> {
    const charts = await import("./chart");
    if (!this.#at || !this.#read) return;
    this.#drawnWidth = this.#panel.clientWidth;
    const { point, history } = this.#read;
    const made = series(point, history);
    const rates = el("div", { class: "chart", role: "img", "aria-label": text("chart") });
    const chances = el("div", { class: "chart", role: "img", "aria-label": text("chart.prob") });
    const scrolled = this.#panel.scrollTop;
    const held = this.#body.contains(document.activeElement) ? document.activeElement?.id : "";
    this.#say(point.summary ? sentence(point.summary) : "");
    this.#body.replaceChildren(
      ...(point.rain_source && this.told.isSatellite(point.rain_source) ? [el("p", { class: "chip late", id: "from-satellite" }, text("source.satellite"))] : []),
      el("h3", {}, `${text("chart")}, mm/h`),
      rates,
      rateKey(made, history),
      ...(made.chances.length ? [el("h3", {}, `${text("chart.prob")}, %`), chances, chanceKey(made, charts.dashOf)] : []),
      this.#table(made),
      this.#links(point),
      ...(point.rain_source ? [el("p", { class: "hint" }, text("place.source", { source: point.rain_source }))] : []),
    );
    if (held) document.getElementById(held)?.focus();
    charts.rateChart(rates, made, serviceNow());
    if (made.chances.length) charts.chanceChart(chances, made, serviceNow());
    this.#panel.scrollTop = scrolled;
  }

  #head(at: Point): HTMLElement {
    const name = nameAt(at.lat, at.lon, this.places);
    const where = `${number(at.lat, 3)}°, ${number(at.lon, 3)}°`;
    return el(
      "div",
      { class: "head" },
      el("h2", {}, name ?? where),
      el("span", { class: "where" }, name ? where : ""),
      el("button", { type: "button", id: "close-place", "aria-label": text("place.close"), title: text("place.close"), onclick: () => this.told.closed() }, "✕"),
    );
  }

  #fail(error: api.ApiError): void {
    this.#read = null;
    this.#body.replaceChildren();
    this.#say(error.status === 404 ? text("place.outside") : text("place.failed", { reason: error.message }));
  }

  #say(words: string): void {
    if (this.#summary.textContent !== words) this.#summary.textContent = words;
  }

  #table(made: Series): HTMLElement {
    const hasSaid = made.rows.some((row) => row.said !== undefined);
    const heads = [text("table.time"), text("table.kind"), "mm/h"];
    if (hasSaid) heads.push(text("table.said"));
    if (made.band) heads.push("p10–p90");
    heads.push(...made.chances.map((name) => `> ${name.slice(5)} mm/h`));
    const rows = made.rows.map((row) => {
      const cells = [clock(row.time), text(row.kind), shown(row.kind === "observed" ? row.observed : row.mean)];
      if (hasSaid) cells.push(shown(row.said));
      if (made.band) cells.push(band(row));
      return [...cells, ...made.chances.map((name) => shown(row.chances[name], 100, " %"))];
    });
    const details = el("details", { id: "table", open: this.#tableOpen }, el("summary", { id: "table-summary" }, text("table")), table(text("chart"), heads, rows));
    details.addEventListener("toggle", () => (this.#tableOpen = details.open));
    return details;
  }

  #links(point: PointForecast): HTMLElement {
    const copy = el("button", { type: "button", id: "copy" }, text("link.copy"));
    copy.addEventListener("click", () => {
      void navigator.clipboard.writeText(location.href).then(() => (copy.textContent = text("link.copied")));
    });
    return el(
      "div",
      { class: "links" },
      copy,
      el("a", { href: api.csvLink(point.lat, point.lon), download: true, id: "csv" }, text("link.csv")),
      el("a", { href: api.fileLink(point.region, point.base_time), download: true, id: "netcdf" }, `${text("link.netcdf")} ${utc(point.base_time)}`),
    );
  }
}

function rateKey(made: Series, history: History | null): HTMLElement {
  const items: [string, string][] = [
    ...(history ? ([["observed", text("chart.observed")], ["said", text("chart.said")]] as [string, string][]) : []),
    ["forecast", text("chart.mean")],
    ...(made.rows.some(isUnseen) ? ([["unseen", text("notseen")]] as [string, string][]) : []),
    ...(made.band ? ([["band", text("chart.band")]] as [string, string][]) : []),
  ];
  return el("ul", { class: "key" }, ...items.map(([kind, name]) => el("li", {}, el("i", { class: kind }), name)));
}

function chanceKey(made: Series, dashOf: (k: number) => string): HTMLElement {
  const line = (k: number) => svg("svg", { viewBox: "0 0 28 6", "aria-hidden": "true" }, svg("path", { d: "M0 3h28", "stroke-dasharray": dashOf(k) }));
  const items = made.chances.map((name, k) => el("li", { title: title(name) }, line(k), `> ${number(Number(name.slice(5)))} mm/h`));
  return el("ul", { class: "key" }, ...items);
}

function shown(value: number | null | undefined, factor = 1, unit = ""): string {
  if (value === undefined) return "–";
  return value === null ? text("table.empty") : number(value * factor, factor === 1 ? 2 : 0) + unit;
}

function band(row: Row): string {
  return row.p10 == null || row.p90 == null ? shown(row.p10) : `${number(row.p10, 2)}–${number(row.p90, 2)}`;
}
