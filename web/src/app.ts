/** The page's parts, wired: view ↔ player ↔ feeds ↔ map, panel and bars. */
import * as api from "./api";
import type { Palette, Region } from "./contract";
import { byId, option } from "./dom";
import { Feed, identity, indexOf } from "./feed";
import { apart, type Camera, fitted, inside, placeAt, projection } from "./geo";
import { drawChoice, drawLegend } from "./legend";
import { Live } from "./live";
import type { RainMap } from "./map";
import { PlacePanel } from "./place";
import { animate, Player } from "./player";
import { imageOf, MEMBERS } from "./products";
import { afterFrame, Rain } from "./rain";
import { Search } from "./search";
import { applySettings, installSettings, reducedMotion, theme } from "./settings";
import { Stamps } from "./stamps";
import { drawState } from "./stateline";
import { text } from "./text";
import { TimelineBar } from "./timeline";
import { onView, show, view, type View } from "./view";

/** Also without a run there is a map. */
const MAP_LATEST_MS = 1500;

export class App {
  #regions: Region[] = [];
  #palettes: Palette[] = [];
  #connected = true;
  readonly #feeds = new Map<string, Feed>();
  readonly #player = new Player((index) => this.#ready(index), () => this.#moved());
  readonly #bar = new TimelineBar(this.#player);
  readonly #stamps = new Stamps((width, height) => {
    const bounds = this.#feed?.shown?.timeline.bounds;
    return bounds && this.#map ? this.#map.outline(bounds, width, height) : null;
  });
  readonly #live = new Live({ refresh: (region) => this.#refresh(region), connected: (yes) => this.#setConnected(yes) });
  readonly #search = new Search((lat, lon) => this.#pick(lat, lon));
  readonly #panel = new PlacePanel({
    closed: () => this.#close(),
    found: (region) => show({ region }),
    region: ({ lat, lon }) => (this.#region && inside(this.#region.bounds, lat, lon) ? this.#region.name : null),
    isSatellite: (source) => this.#regions.some(({ satellites }) => satellites.includes(source)),
  });
  readonly #rain = new Rain();
  #map: RainMap | null = null;

  async start(): Promise<void> {
    byId("stage").prepend(this.#rain.box);
    installSettings(() => this.#restyle());
    this.#restyle();
    this.#listen();
    setTimeout(() => this.#openMap(), MAP_LATEST_MS);
    onView((now, before) => this.#viewed(now, before));
    void this.#showPage();
    animate(this.#player);
    await this.#live.look();
    this.#live.start();
    if (view().time === null && !this.#player.playing && this.#feed?.shown && !reducedMotion()) this.#player.play(true);
  }

  get #region(): Region | null {
    return this.#regions.find(({ name }) => name === view().region) ?? null;
  }

  get #feed(): Feed | null {
    return this.#feeds.get(view().region ?? "") ?? null;
  }

  #opened = false;

  /** Opening the map keeps the browser busy for longest: it is done when the first rain is on the screen. */
  async #openMap(): Promise<void> {
    if (this.#opened || byId("map-page").hidden) return;
    this.#opened = true;
    try {
      const { RainMap } = await import("./map");
      const told = { picked: (lat: number, lon: number) => this.#pick(lat, lon), moved: () => this.#panned() };
      this.#map = new RainMap(byId("map"), theme(), this.#camera(), this.#rain, told);
      this.#map.canvas.setAttribute("aria-label", text("map"));
      this.#introduce();
    } catch {
      byId("map").textContent = text("nowebgl");
    }
  }

  /** Tell the map of what is known already; whichever of the two comes last calls it. */
  #introduce(): void {
    if (byId("map-page").hidden) return; // without a size nothing fits; told again when it is shown
    for (const { name, bounds } of this.#regions) this.#rain.add(name, bounds);
    const camera = this.#camera();
    if (!this.#map && camera) this.#rain.place(projection(camera, byId("map")));
    if (!this.#map || !this.#region) return;
    if (camera) this.#map.moveTo(camera);
    this.#map.setRegions(this.#regions);
    this.#map.setPin(view().at);
    this.#panned();
  }

  /** The camera of the address, or the one that shows the region. */
  #camera(): Camera | null {
    return view().camera ?? (this.#region && fitted(this.#region.bounds, byId("map")));
  }

  #listen(): void {
    byId("region").addEventListener("change", () => {
      show({ region: byId<HTMLSelectElement>("region").value, at: null, camera: null });
      if (this.#region && view().page === "map") this.#map?.fit(this.#region.bounds, !reducedMotion());
    });
    byId("product").addEventListener("change", () => show({ product: byId<HTMLSelectElement>("product").value }));
    byId("page").addEventListener("click", () => show({ page: view().page === "map" ? "status" : "map" }));
    byId("map").addEventListener("click", (event) => this.#pickEarly(event));
    setInterval(() => {
      this.#state();
      this.#panel.tick();
    }, 1000);
  }

  /** Ask for news; rejects when the service is away. */
  async #refresh(region: string | null): Promise<void> {
    if (this.#regions.length === 0) await this.#readRegions();
    const wanted = region ? [region] : this.#regions.map(({ name }) => name);
    const [first, ...others] = wanted.filter((name) => this.#isWanted(name)).sort((name) => (name === view().region ? -1 : 1));
    if (first === undefined) return;
    await this.#feedOf(first).refresh();
    await Promise.all(others.map((name) => this.#feedOf(name).refresh()));
  }

  async #readRegions(): Promise<void> {
    [this.#regions, this.#palettes] = await Promise.all([api.regions(), api.palettes()]);
    const fits = this.#region ?? this.#regions.find(({ newest_base_time }) => newest_base_time !== null) ?? this.#regions[0];
    if (!fits) return;
    show({ region: fits.name });
    const places = this.#regions.flatMap((one) => one.places ?? []);
    this.#search.setPlaces(places);
    this.#panel.places = places;
    this.#introduce();
    this.#restyle();
    this.#drawRegions();
    if (view().at) void this.#openPlace();
  }

  /** The region looked at, and those in sight. */
  #isWanted(name: string): boolean {
    const region = this.#regions.find((one) => one.name === name);
    return region !== undefined && (name === view().region || (this.#map?.sees(region.bounds) ?? false));
  }

  #feedOf(name: string): Feed {
    let feed = this.#feeds.get(name);
    if (!feed) {
      const wanted = () => ({ product: view().product, palettes: this.#palettes, palette: view().palette, time: this.#time() });
      feed = new Feed(name, wanted, (changed) => this.#fed(changed));
      this.#feeds.set(name, feed);
    }
    return feed;
  }

  #time(): number | null {
    const step = this.#player.playing ? this.#feed?.shown?.timeline.steps[this.#player.index] : null;
    return step ? Date.parse(step.valid_time) : view().time;
  }

  #run = "";

  /** A feed has another run, product or frame to show. */
  #fed(feed: Feed): void {
    const shown = feed.shown;
    if (shown) afterFrame(() => this.#openMap());
    if (feed !== this.#feed) return this.#drawRain();
    const run = shown ? identity(shown.timeline) : "";
    if (shown && run !== this.#run) {
      const isNews = this.#run.startsWith(`${shown.timeline.region} `);
      this.#run = run;
      const times = shown.timeline.steps.map((step) => Date.parse(step.valid_time));
      // not the address's time: that is written only once the reader has come to rest
      this.#player.setTimes(times, indexOf(shown.timeline, null), isNews ? this.#player.time : view().time);
      if (isNews) void this.#panel.refresh();
      if (isNews && view().page === "status") void this.#showPage();
      document.documentElement.dataset["run"] = shown.timeline.base_time;
    }
    this.#bar.progress(feed.progress());
    this.#moved();
    this.#state();
  }

  /** A frame that cannot be had does not stop the film: its step is shown, hatched. */
  #ready(index: number): boolean {
    const feed = this.#feed;
    const step = feed?.shown?.timeline.steps[index];
    if (!feed || !step) return false;
    if (view().product === MEMBERS) return this.#stamps.ready(step);
    return !feed.loading || feed.frameAt(Date.parse(step.valid_time)) !== null;
  }

  /** The playhead, or what it shows, changed. */
  #moved(): void {
    const timeline = this.#feed?.shown?.timeline ?? null;
    this.#bar.update(timeline);
    this.#drawRain();
    const step = timeline?.steps[this.#player.index] ?? null;
    const { product, palette } = view();
    drawChoice(timeline, product);
    drawLegend(this.#palettes, palette, product === MEMBERS ? MEMBERS : (this.#feed?.shown?.product ?? product), step);
    if (product === MEMBERS) {
      this.#stamps.show(timeline?.steps ?? [], this.#player.index, (one, member) => imageOf(one, member, this.#palettes, palette));
    } else this.#stamps.hide();
    if (!this.#player.playing && timeline) this.#remember();
  }

  #drawRain(): void {
    const step = this.#feed?.shown?.timeline.steps[this.#player.index];
    if (!step) return;
    const time = Date.parse(step.valid_time);
    for (const feed of this.#feeds.values()) {
      if (feed.shown) this.#rain.show(feed.region, feed.shown.timeline.bounds, feed.frameAt(time));
    }
  }

  #remembering = 0;

  /** Write the time to the address when the reader has come to rest: browsers limit how often it may change. */
  #remember(): void {
    clearTimeout(this.#remembering);
    this.#remembering = setTimeout(() => this.#player.playing || show({ time: this.#player.time }), 250);
  }

  #viewed(now: View, before: View): void {
    if (now.region !== before.region) {
      this.#drawRegions();
      this.#run = "";
      const feed = this.#feed;
      if (feed?.shown) this.#fed(feed);
      void this.#live.look(now.region);
    }
    if (now.product !== before.product || now.palette !== before.palette) {
      for (const feed of this.#feeds.values()) void feed.rewant();
      this.#moved();
    }
    const looks: (keyof View)[] = ["language", "theme", "zone", "palette"];
    if (looks.some((one) => now[one] !== before[one])) this.#restyle();
    if (now.at?.lat !== before.at?.lat || now.at?.lon !== before.at?.lon) void this.#openPlace();
    if (now.page !== before.page) void this.#showPage();
    if (now.camera && this.#map && apart(now.camera, this.#map.camera)) this.#map.moveTo(now.camera);
    const timeline = this.#feed?.shown?.timeline;
    if (timeline && now.time !== before.time && now.time !== this.#player.time) this.#player.seek(indexOf(timeline, now.time));
  }

  #pick(lat: number, lon: number): void {
    const at = { lat: Number(lat.toFixed(4)), lon: Number(lon.toFixed(4)) };
    show({ at, page: "map" });
    this.#map?.reveal(at.lat, at.lon);
    this.#panel.focus();
  }

  /** The rain can be seen before its map has opened: a click on it counts. Once there is a map, its own canvas is the target. */
  #pickEarly(event: MouseEvent): void {
    const box = byId("map");
    const camera = this.#camera();
    if (event.target !== box || !camera) return;
    const { left, top } = box.getBoundingClientRect();
    const { lat, lon } = placeAt(camera, box, { x: event.clientX - left, y: event.clientY - top });
    this.#pick(lat, lon);
  }

  #close(): void {
    show({ at: null });
    this.#map?.canvas.focus();
  }

  async #openPlace(): Promise<void> {
    this.#map?.setPin(view().at);
    await this.#panel.open(view().at);
  }

  #panned(): void {
    if (this.#map) show({ camera: this.#map.camera });
    for (const { name } of this.#regions) if (this.#isWanted(name) && !this.#feeds.has(name)) void this.#live.look(name);
  }

  #drawRegions(): void {
    byId("region").replaceChildren(...this.#regions.map(({ name, title }) => option(name, title, name === view().region)));
  }

  #setConnected(yes: boolean): void {
    const back = yes && !this.#connected;
    this.#connected = yes;
    document.documentElement.dataset["connected"] = String(yes);
    this.#state();
    if (back) void this.#panel.refresh();
  }

  #state(): void {
    const timeline = this.#feed?.shown?.timeline ?? null;
    const none = this.#regions.length === 0 ? text("noregion") : this.#feed?.refused ? text("norun") : null;
    drawState(timeline, this.#connected, none);
    this.#bar.mark(timeline);
  }

  #restyle(): void {
    applySettings(this.#palettes);
    this.#map?.setTheme(theme());
    this.#map?.canvas.setAttribute("aria-label", text("map"));
    byId("page").textContent = text(view().page === "map" ? "status" : "back");
    this.#bar.retranslate();
    this.#panel.restyle();
    this.#moved();
    this.#state();
    if (view().page === "status") void this.#showPage();
  }

  async #showPage(): Promise<void> {
    const status = view().page === "status";
    byId("map-page").hidden = status;
    byId("status-page").hidden = !status;
    byId("page").textContent = text(status ? "back" : "status");
    if (status) return (await import("./status")).drawStatus(byId("status-page"));
    this.#introduce();
    if (this.#feed?.shown) void this.#openMap();
  }
}
