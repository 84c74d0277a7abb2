/** The map: base map, rain, lines, names and the pin; one above the other. */
import { Map as MapLibre, NavigationControl, ScaleControl, setWorkerCount, setWorkerUrl } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import "maplibre-gl/dist/maplibre-gl.css";

import { atlas, restyle, style, type Theme } from "./basemap";
import type { Bounds, Region } from "./contract";
import { type Camera, fitted, MAX_ZOOM } from "./geo";
import { Labels } from "./labels";
import { Lines } from "./lines";
import type { Rain } from "./rain";

setWorkerUrl(workerUrl);
setWorkerCount(1); // one layer of land

interface Told {
  picked: (lat: number, lon: number) => void;
  moved: (camera: Camera) => void;
}

export class RainMap {
  readonly #map: MapLibre;
  readonly #lines: Lines;
  readonly #labels: Labels;
  readonly #ready: Promise<void>;

  constructor(container: HTMLElement, theme: Theme, camera: Camera | null, rain: Rain, told: Told) {
    this.#map = new MapLibre({
      container,
      style: style(theme),
      center: camera ? [camera.lon, camera.lat] : [8, 50],
      zoom: camera?.zoom ?? 4,
      maxZoom: MAX_ZOOM,
      renderWorldCopies: false,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: 0,
    });
    this.#map.touchZoomRotate.disableRotation();
    this.#map.keyboard.disableRotation();
    this.#map.addControl(new NavigationControl({ showCompass: false }), "top-right");
    this.#map.addControl(new ScaleControl({ maxWidth: 90 }), "top-right");
    const layers = this.#map.getCanvasContainer();
    layers.append(rain.box);
    // after each drawing of the map, in the same animation frame: the two never drift apart
    this.#map.on("render", () => rain.place((at) => this.#map.project(at)));
    this.#lines = new Lines(this.#map, layers);
    this.#labels = new Labels(this.#map, layers);
    this.#ready = new Promise((resolve) => void this.#map.once("styledata", () => resolve()));
    // coasts take longer to prepare than all else
    setTimeout(() => this.#addBase());
    this.#map.on("click", (event) => told.picked(event.lngLat.lat, event.lngLat.wrap().lng));
    this.#map.on("moveend", () => told.moved(this.camera));
    this.#map.getCanvas().addEventListener("keydown", (event) => {
      if (event.key === "Enter") told.picked(this.camera.lat, this.camera.lon);
    });
  }

  get canvas(): HTMLCanvasElement {
    return this.#map.getCanvas();
  }

  get camera(): Camera {
    const { lat, lng } = this.#map.getCenter();
    return { zoom: this.#map.getZoom(), lat, lon: lng };
  }

  setTheme(theme: Theme): void {
    void this.#ready.then(() => restyle(this.#map, theme));
    this.#lines.restyle();
  }

  setRegions(regions: Region[]): void {
    this.#labels.setPlaces(regions.flatMap((region) => region.places ?? []));
  }

  setPin(at: { lat: number; lon: number } | null): void {
    this.#labels.setPin(at);
  }

  fit(bounds: Bounds, animate: boolean): void {
    const { zoom, lat, lon } = fitted(bounds, this.#map.getContainer());
    this.#map.easeTo({ center: [lon, lat], zoom, duration: animate ? 600 : 0 });
  }

  moveTo(camera: Camera): void {
    this.#map.jumpTo({ center: [camera.lon, camera.lat], zoom: camera.zoom });
  }

  /** Bring a point into sight, if it is not. */
  reveal(lat: number, lon: number): void {
    if (!this.#map.getBounds().contains([lon, lat])) this.#map.easeTo({ center: [lon, lat], duration: 400 });
  }

  /** Coasts and borders of a box, so large; null while they are not there. */
  outline(bounds: Bounds, width: number, height: number): HTMLCanvasElement | null {
    return this.#lines.picture(bounds, width, height);
  }

  sees([west, south, east, north]: Bounds): boolean {
    const seen = this.#map.getBounds();
    return west < seen.getEast() && east > seen.getWest() && south < seen.getNorth() && north > seen.getSouth();
  }

  async #addBase(): Promise<void> {
    await this.#ready;
    const { land, borders, coast } = await atlas();
    this.#lines.set(borders, coast);
    void this.#map.getSource<import("maplibre-gl").GeoJSONSource>("land")?.setData(land);
  }
}
