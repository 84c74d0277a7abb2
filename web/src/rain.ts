/**
 * The rain: a canvas a region, laid over the base map.
 *
 * Playing draws one small bitmap a frame and leaves the map as it is. As an image source of the map, each frame drew
 * the whole map again: without a GPU that came to 7 frames per second where this makes more than 20. It also needs no
 * map: the first rain is on the screen before the map's code has run.
 */
import type { Bounds } from "./contract";
import { el } from "./dom";
import type { Frame } from "./feed";
import type { Project } from "./geo";

interface Layer {
  canvas: HTMLCanvasElement;
  bounds: Bounds;
  rain: ImageBitmap | null;
  filled: ImageBitmap | null;
}

export class Rain {
  readonly box = el("div", { class: "rain" });
  readonly #layers = new Map<string, Layer>();
  #project: Project | null = null;

  /** Lay the rain out anew: the camera moved. */
  place(project: Project): void {
    this.#project = project;
    for (const layer of this.#layers.values()) this.#place(layer);
  }

  /** A region's box: hatched, for nothing is known of it yet. */
  add(region: string, bounds: Bounds): void {
    if (this.#layers.has(region)) return;
    const canvas = el("canvas", { class: "unseen", "data-region": region, width: 1, height: 1 });
    const layer = { canvas, bounds, rain: null, filled: null };
    this.#layers.set(region, layer);
    this.box.append(canvas);
    this.#place(layer);
  }

  /** Show a frame; null is hatched: no frame is better than one of another time, and must not look dry. */
  show(region: string, bounds: Bounds, frame: Frame | null): void {
    this.add(region, bounds);
    const layer = this.#layers.get(region)!;
    const { rain, filled } = frame ?? { rain: null, filled: null };
    if (layer.rain === rain && layer.filled === filled && layer.bounds.join() === bounds.join()) return;
    const { canvas } = layer;
    Object.assign(layer, { rain, filled, bounds });
    canvas.classList.toggle("unseen", rain === null);
    canvas.toggleAttribute("data-filled", filled !== null);
    if (rain && (canvas.width !== rain.width || canvas.height !== rain.height)) {
      canvas.width = rain.width;
      canvas.height = rain.height;
    }
    const ink = canvas.getContext("2d")!;
    ink.clearRect(0, 0, canvas.width, canvas.height);
    if (rain) ink.drawImage(rain, 0, 0);
    if (filled) ink.drawImage(filled, 0, 0, canvas.width, canvas.height);
    if (rain) markFirst();
    this.#place(layer);
  }

  /** North is up and the box is one of Web-Mercator: on the screen it is a rectangle. */
  #place({ canvas, bounds: [west, south, east, north] }: Layer): void {
    if (!this.#project) return;
    const from = this.#project([west, north]);
    const to = this.#project([east, south]);
    canvas.style.translate = `${from.x}px ${from.y}px`;
    canvas.style.width = `${to.x - from.x}px`;
    canvas.style.height = `${to.y - from.y}px`;
  }
}

/** Do something when what has just been drawn is on the screen. */
export function afterFrame(act: () => void): void {
  requestAnimationFrame(() => requestAnimationFrame(act));
}

/** Leaves the time of the first rain on screen in the browser's own measurements. */
function markFirst(): void {
  if (performance.getEntriesByName("first-frame").length === 0) afterFrame(() => performance.mark("first-frame"));
}
