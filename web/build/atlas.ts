/**
 * The base map's land and borders, cut down from world-atlas 50m when the page is built.
 *
 * As it ships the file is 236 KB gzipped; without names, without Antarctica and at 40 000 steps around the globe
 * (0.6 km at 50° north; a 50m map is good to some 10 km) it is 178 KB, of the 700 KB that the page may have.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { feature, quantize } from "topojson-client";

const STEPS = 40_000;

export function atlas(): string {
  const path = createRequire(import.meta.url).resolve("world-atlas/countries-50m.json");
  const world = JSON.parse(readFileSync(path, "utf-8"));
  const kept = world.objects.countries.geometries.filter((g: any) => g.properties.name !== "Antarctica");
  const { arcs, geometries } = withoutUnusedArcs(absolute(world), kept);
  const countries = { type: "GeometryCollection", geometries };
  const cut: any = quantize({ type: "Topology", objects: { countries }, arcs } as any, STEPS);
  if ((feature(cut, cut.objects.countries) as any).features.length < 200) throw new Error("the atlas lost its countries");
  delete cut.bbox;
  return JSON.stringify(cut);
}

function absolute(world: any): number[][][] {
  const [[kx, ky], [x0, y0]] = [world.transform.scale, world.transform.translate];
  return world.arcs.map((arc: number[][]) => {
    let [x, y] = [0, 0];
    return arc.map(([dx, dy]) => [(x += dx!) * kx + x0, (y += dy!) * ky + y0]);
  });
}

function withoutUnusedArcs(all: number[][][], geometries: any[]): { arcs: number[][][]; geometries: any[] } {
  const places = new Map<number, number>();
  const place = (arc: number): number => {
    if (!places.has(arc)) places.set(arc, places.size);
    return places.get(arc)!;
  };
  const renumber = (arcs: any): any => (Array.isArray(arcs) ? arcs.map(renumber) : arcs < 0 ? ~place(~arcs) : place(arcs));
  const kept = geometries.map(({ type, arcs }) => ({ type, arcs: renumber(arcs) }));
  return { arcs: [...places.keys()].map((arc) => all[arc]!), geometries: kept };
}
