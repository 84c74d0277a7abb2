/** The base map: sea and land from world-atlas, in two appearances. Nothing comes from outside. */
import type { LayerSpecification, Map as MapLibre, StyleSpecification } from "maplibre-gl";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";

import { byId } from "./dom";

export type Theme = "light" | "dark";

const COLOURS: Record<Theme, { sea: string; land: string }> = {
  light: { sea: "#cfd8de", land: "#e4e3dd" },
  // no darker: the heaviest classes are nearly black, and must not sink into the land
  dark: { sea: "#2a323a", land: "#3c454d" },
};

export function style(theme: Theme): StyleSpecification {
  const { sea, land } = COLOURS[theme];
  const layers: LayerSpecification[] = [
    { id: "sea", type: "background", paint: { "background-color": sea } },
    { id: "land", type: "fill", source: "land", paint: { "fill-color": land } },
  ];
  const data = { type: "FeatureCollection" as const, features: [] };
  return { version: 8, sources: { land: { type: "geojson", data, tolerance: 0.3, maxzoom: 10 } }, layers };
}

export function restyle(map: MapLibre, theme: Theme): void {
  map.setPaintProperty("sea", "background-color", COLOURS[theme].sea);
  map.setPaintProperty("land", "fill-color", COLOURS[theme].land);
}

interface Atlas {
  land: GeoJSON.GeoJSON;
  borders: GeoJSON.MultiLineString;
  coast: GeoJSON.MultiLineString;
}

/** Land, and the lines over it; the page names the file and has asked for it already. */
export async function atlas(): Promise<Atlas> {
  const world = (await (await fetch(byId<HTMLLinkElement>("atlas").href)).json()) as Topology;
  const countries = world.objects["countries"] as GeometryCollection;
  return {
    land: feature(world, countries),
    borders: mesh(world, countries, (a, b) => a !== b),
    coast: mesh(world, countries, (a, b) => a === b),
  };
}
