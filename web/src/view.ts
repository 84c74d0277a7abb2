/** What is being looked at, kept in the address: a link reopens the same view. Nothing is stored on the device. */

import type { Camera } from "./geo";

export const LANGUAGES = ["en", "de", "zh"] as const;
export type Language = (typeof LANGUAGES)[number];
export type Theme = "auto" | "light" | "dark";
export type Zone = "local" | "utc";

export interface View {
  region: string | null;
  /** Product key, or `members`. */
  product: string;
  /** Valid time looked at, ms; null follows the newest observation. */
  time: number | null;
  at: { lat: number; lon: number } | null;
  camera: Camera | null;
  page: "map" | "status";
  language: Language | null;
  theme: Theme;
  zone: Zone;
  palette: string | null;
}

export const DEFAULT: View = {
  region: null,
  product: "rain_mean",
  time: null,
  at: null,
  camera: null,
  page: "map",
  language: null,
  theme: "auto",
  zone: "local",
  palette: null,
};

export function encode(view: View): string {
  const parts: [string, string | null][] = [
    ["region", view.region],
    ["product", view.product === DEFAULT.product ? null : view.product],
    ["time", view.time === null ? null : new Date(view.time).toISOString().replace(/:00\.000Z$/, "Z")],
    ["at", view.at && `${view.at.lat.toFixed(4)},${view.at.lon.toFixed(4)}`],
    ["map", view.camera && `${view.camera.zoom.toFixed(2)}/${view.camera.lat.toFixed(3)}/${view.camera.lon.toFixed(3)}`],
    ["page", view.page === "map" ? null : view.page],
    ["lang", view.language],
    ["theme", view.theme === "auto" ? null : view.theme],
    ["zone", view.zone === "local" ? null : view.zone],
    ["palette", view.palette],
  ];
  return parts.flatMap(([key, value]) => (value === null ? [] : [`${key}=${value}`])).join("&");
}

/** What a hash says; what it says wrongly is left out. */
export function decode(hash: string): View {
  const said = new URLSearchParams(hash.replace(/^#/, "").replaceAll("+", "%2B"));
  const time = Date.parse(said.get("time") ?? "");
  const camera = numbers(said.get("map"), "/", 3);
  const at = parsePoint(said.get("at") ?? "");
  return {
    region: said.get("region"),
    product: said.get("product") ?? DEFAULT.product,
    time: Number.isNaN(time) ? null : time,
    at,
    camera: camera && isPoint(camera[1]!, camera[2]!) ? { zoom: camera[0]!, lat: camera[1]!, lon: camera[2]! } : null,
    page: said.get("page") === "status" ? "status" : "map",
    language: oneOf(said.get("lang"), LANGUAGES),
    theme: oneOf(said.get("theme"), ["light", "dark"] as const) ?? "auto",
    zone: said.get("zone") === "utc" ? "utc" : "local",
    palette: said.get("palette"),
  };
}

/** Read "52.1, 5.2" (or with a space or semicolon), latitude first. */
export function parsePoint(text: string): { lat: number; lon: number } | null {
  const pair = numbers(text.trim().replace(/\s*[,;\s]\s*/, ","), ",", 2);
  return pair && isPoint(pair[0]!, pair[1]!) ? { lat: pair[0]!, lon: pair[1]! } : null;
}

function numbers(text: string | null, separator: string, count: number): number[] | null {
  const parts = (text ?? "").split(separator).map((part) => part.trim());
  if (parts.length !== count || parts.some((part) => !/^[+-]?\d+(\.\d+)?$/.test(part))) return null;
  return parts.map(Number);
}

function isPoint(lat: number, lon: number): boolean {
  return Math.abs(lat) <= 90 && Math.abs(lon) <= 180;
}

function oneOf<T extends string>(value: string | null, allowed: readonly T[]): T | null {
  return allowed.find((one) => one === value) ?? null;
}

type Listener = (view: View, before: View) => void;

const listeners: Listener[] = [];
let current: View = decode(location.hash);

export const view = (): View => current;

/** Be told of every change; the listener is not called for the view as it is. */
export const onView = (listener: Listener): void => void listeners.push(listener);

/** Change the view and the address; leaving and entering a page is a step of the browser's history. */
export function show(patch: Partial<View>): void {
  const before = current;
  current = { ...current, ...patch };
  if (encode(current) === encode(before)) return;
  history[current.page === before.page ? "replaceState" : "pushState"](null, "", `#${encode(current)}`);
  for (const listener of listeners) listener(current, before);
}

addEventListener("hashchange", adopt);
addEventListener("popstate", adopt);

function adopt(): void {
  const before = current;
  current = decode(location.hash);
  current.region ??= before.region;
  if (encode(current) !== encode(before)) for (const listener of listeners) listener(current, before);
}
