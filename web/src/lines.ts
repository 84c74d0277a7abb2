/** Coasts and borders above the rain, on a canvas of their own: drawn when the map moves, not when the rain does. */
import type { Map as MapLibre } from "maplibre-gl";

import type { Bounds } from "./contract";
import { el } from "./dom";
import { mercator, WORLD } from "./geo";

interface Line {
  /** Web-Mercator: x, y, x, y, … */
  points: Float64Array;
  west: number;
  east: number;
  north: number;
  south: number;
}

interface Pen {
  colour: string;
  dash: number[];
}

/** Points nearer than this many pixels to the one before are left out. */
const FINE = 0.7;

export class Lines {
  readonly #canvas = el("canvas", { class: "lines" });
  #lines: { lines: Line[]; name: "border" | "coast" }[] = [];
  #drawn = "";
  #picture: { of: string; canvas: HTMLCanvasElement } | null = null;

  constructor(
    private readonly map: MapLibre,
    container: HTMLElement,
  ) {
    container.append(this.#canvas);
    map.on("render", () => this.#draw());
  }

  set(borders: GeoJSON.MultiLineString, coast: GeoJSON.MultiLineString): void {
    this.#lines = [
      { lines: borders.coordinates.map(line), name: "border" },
      { lines: coast.coordinates.map(line), name: "coast" },
    ];
    this.restyle();
  }

  restyle(): void {
    this.#drawn = "";
    this.#draw();
  }

  #draw(): void {
    const { clientWidth: width, clientHeight: height } = this.map.getContainer();
    const from = this.map.unproject([0, 0]);
    const [x0, y0] = mercator([from.lng, from.lat]);
    const scale = WORLD * 2 ** this.map.getZoom();
    const drawn = [x0, y0, scale, width, height, devicePixelRatio, this.#lines.length].join();
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#canvas.width = width * devicePixelRatio;
    this.#canvas.height = height * devicePixelRatio;
    const ink = this.#canvas.getContext("2d")!;
    ink.scale(devicePixelRatio, devicePixelRatio);
    this.#trace(ink, [x0, y0], scale, width, height);
  }

  /** Coasts and borders of a box, so large; null while they are not there. */
  picture(bounds: Bounds, width: number, height: number): HTMLCanvasElement | null {
    const wanted = `${bounds.join()} ${width} ${height} ${document.documentElement.dataset["theme"]}`;
    if (this.#lines.length === 0) return null;
    if (this.#picture?.of !== wanted) {
      const canvas = el("canvas", { width, height });
      const [west, , east, north] = bounds;
      const [x0, y0] = mercator([west, north]);
      this.#trace(canvas.getContext("2d")!, [x0, y0], width / (mercator([east, north])[0] - x0), width, height);
      this.#picture = { of: wanted, canvas };
    }
    return this.#picture.canvas;
  }

  #trace(ink: CanvasRenderingContext2D, [x0, y0]: [x: number, y: number], scale: number, width: number, height: number): void {
    for (const { lines, name } of this.#lines) {
      const { colour, dash } = pen(this.#canvas, name);
      ink.strokeStyle = colour;
      ink.setLineDash(dash);
      ink.beginPath();
      for (const one of lines) {
        const away = one.east < x0 || one.west > x0 + width / scale || one.south < y0 || one.north > y0 + height / scale;
        if (!away) trace(ink, one.points, x0, y0, scale);
      }
      ink.stroke();
    }
  }
}

function trace(ink: CanvasRenderingContext2D, points: Float64Array, x0: number, y0: number, scale: number): void {
  let [lastX, lastY] = [Infinity, Infinity];
  for (let k = 0; k < points.length; k += 2) {
    const [x, y] = [(points[k]! - x0) * scale, (points[k + 1]! - y0) * scale];
    const last = k === points.length - 2;
    if (k > 0 && !last && Math.abs(x - lastX) < FINE && Math.abs(y - lastY) < FINE) continue;
    if (k === 0) ink.moveTo(x, y);
    else ink.lineTo(x, y);
    [lastX, lastY] = [x, y];
  }
}

function line(coordinates: GeoJSON.Position[]): Line {
  const points = Float64Array.from(coordinates.flatMap(mercator));
  const xs = points.filter((_, k) => k % 2 === 0);
  const ys = points.filter((_, k) => k % 2 === 1);
  return { points, west: Math.min(...xs), east: Math.max(...xs), north: Math.min(...ys), south: Math.max(...ys) };
}

function pen(node: HTMLElement, name: "border" | "coast"): Pen {
  const colour = getComputedStyle(node).getPropertyValue(`--${name}`).trim();
  return { colour, dash: name === "border" ? [4, 3] : [] };
}
