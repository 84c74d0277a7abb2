/** Places and views of the globe, degrees. */
import type { Bounds } from "./contract";

export interface Camera {
  zoom: number;
  lat: number;
  lon: number;
}

export function inside([west, south, east, north]: Bounds, lat: number, lon: number): boolean {
  return lon >= west && lon <= east && lat >= south && lat <= north;
}

/** More than the address rounds away. */
export function apart(a: Camera, b: Camera): boolean {
  return Math.abs(a.zoom - b.zoom) > 0.01 || Math.abs(a.lat - b.lat) > 0.001 || Math.abs(a.lon - b.lon) > 0.001;
}

/** Web-Mercator, 0 to 1 from the north-west. */
export function mercator([lon = 0, lat = 0]: readonly number[]): [x: number, y: number] {
  const y = Math.log(Math.tan(Math.PI / 4 + (Math.max(-85, Math.min(85, lat)) * Math.PI) / 360));
  return [lon / 360 + 0.5, 0.5 - y / (2 * Math.PI)];
}

/** Latitude of a Web-Mercator northing. */
function latitude(y: number): number {
  return (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;
}

/** Pixels of the whole globe's width at zoom 0. */
export const WORLD = 512;
export const MAX_ZOOM = 10;

export interface Size {
  clientWidth: number;
  clientHeight: number;
}

/** The camera that shows a box as large as it fits; on a narrow screen search and legend lie over the top. */
export function fitted([west, south, east, north]: Bounds, { clientWidth: width, clientHeight: height }: Size): Camera {
  const narrow = width <= 700;
  const side = narrow ? 10 : 40;
  const top = narrow ? Math.min(150, 0.3 * height) : side;
  const [x0, y0] = mercator([west, north]);
  const [x1, y1] = mercator([east, south]);
  const scale = Math.min((width - 2 * side) / (x1 - x0), (height - top - side) / (y1 - y0), WORLD * 2 ** MAX_ZOOM);
  const y = (y0 + y1) / 2 - (top - side) / 2 / scale;
  return { zoom: Math.log2(scale / WORLD), lat: latitude(y), lon: (west + east) / 2 };
}

export type Project = (at: [lon: number, lat: number]) => { x: number; y: number };

/** Where a camera shows a place, in pixels: as the map does, for when there is no map yet. */
export function projection(camera: Camera, { clientWidth: width, clientHeight: height }: Size): Project {
  const scale = WORLD * 2 ** camera.zoom;
  const [cx, cy] = mercator([camera.lon, camera.lat]);
  return (at) => {
    const [x, y] = mercator(at);
    return { x: width / 2 + (x - cx) * scale, y: height / 2 + (y - cy) * scale };
  };
}

/** The place that a camera shows at a pixel: the way back of `projection`. */
export function placeAt(camera: Camera, { clientWidth: width, clientHeight: height }: Size, pixel: { x: number; y: number }): { lat: number; lon: number } {
  const scale = WORLD * 2 ** camera.zoom;
  const [cx, cy] = mercator([camera.lon, camera.lat]);
  return { lat: latitude(cy + (pixel.y - height / 2) / scale), lon: (cx + (pixel.x - width / 2) / scale - 0.5) * 360 };
}
