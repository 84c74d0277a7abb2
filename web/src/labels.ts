/** Names of places over the map, as elements: no fonts to ship, and the reader's own are used. */
import type { Map as MapLibre } from "maplibre-gl";

import type { Place } from "./contract";
import { el } from "./dom";

interface Label {
  place: Place;
  node: HTMLElement;
  width: number;
}

const HEIGHT = 20;

export class Labels {
  readonly #box = el("div", { class: "labels", "aria-hidden": true });
  readonly #pin = el("div", { class: "pin", hidden: true });
  #labels: Label[] = [];
  #at: { lat: number; lon: number } | null = null;

  constructor(
    private readonly map: MapLibre,
    container: HTMLElement,
  ) {
    this.#box.append(this.#pin);
    container.append(this.#box);
    map.on("move", () => this.#place());
    map.on("resize", () => this.#place());
  }

  setPlaces(places: Place[]): void {
    for (const { node } of this.#labels) node.remove();
    this.#labels = places.map((place) => ({ place, node: el("span", { class: "label" }, place.name), width: 0 }));
    this.#box.append(...this.#labels.map(({ node }) => node));
    for (const label of this.#labels) label.width = label.node.offsetWidth;
    this.#place();
  }

  setPin(at: { lat: number; lon: number } | null): void {
    this.#at = at;
    this.#place();
  }

  /** Places come in order of weight: one that would cover an earlier one's name is left out. */
  #place(): void {
    const taken: [number, number, number][] = [];
    for (const { place, node, width } of this.#labels) {
      const { x, y } = this.map.project([place.lon, place.lat]);
      const free = taken.every(([tx, ty, tw]) => Math.abs(ty - y) > HEIGHT || x > tx + tw || tx > x + width);
      node.hidden = !free;
      if (!free) continue;
      taken.push([x, y, width]);
      node.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
    }
    this.#pin.hidden = this.#at === null;
    if (this.#at) {
      const { x, y } = this.map.project([this.#at.lon, this.#at.lat]);
      this.#pin.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
    }
  }
}
