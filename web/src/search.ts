/** Find a place by name or by coordinates. */
import type { Place } from "./contract";
import { byId, el } from "./dom";
import { text } from "./text";
import { parsePoint } from "./view";

export function findPlace(query: string, places: Place[]): { lat: number; lon: number } | null {
  const point = parsePoint(query);
  if (point) return point;
  const wanted = fold(query);
  if (!wanted) return null;
  const named = (fits: (name: string) => boolean): Place | undefined => places.find((place) => fits(fold(place.name)));
  return named((n) => n === wanted) ?? named((n) => n.startsWith(wanted)) ?? named((n) => n.includes(wanted)) ?? null;
}

/** Without case and accents: "zurich" finds Zürich. */
function fold(name: string): string {
  return name.normalize("NFD").replace(/\p{M}/gu, "").trim().toLowerCase();
}

export class Search {
  #places: Place[] = [];

  constructor(found: (lat: number, lon: number) => void) {
    const field = byId<HTMLInputElement>("query");
    const answer = byId("search-answer");
    byId<HTMLFormElement>("search").addEventListener("submit", (event) => {
      event.preventDefault();
      const at = findPlace(field.value, this.#places);
      answer.textContent = at ? "" : text("search.none");
      if (at) found(at.lat, at.lon);
    });
    field.addEventListener("input", () => (answer.textContent = ""));
  }

  setPlaces(places: Place[]): void {
    this.#places = places;
    byId("places").replaceChildren(...places.map((place) => el("option", { value: place.name })));
  }
}

/** The name of the place at a point, if one is within a kilometre or two. */
export function nameAt(lat: number, lon: number, places: Place[]): string | null {
  return places.find((place) => Math.hypot(place.lat - lat, (place.lon - lon) * Math.cos((lat * Math.PI) / 180)) < 0.02)?.name ?? null;
}
