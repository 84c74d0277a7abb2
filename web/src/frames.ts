/** Frames: images fetched once, decoded before they are needed and swapped as bitmaps. */

const AT_ONCE = 6;

export class Frames {
  readonly #kept = new Map<string, ImageBitmap>();
  readonly #pending = new Map<string, Promise<ImageBitmap | null>>();

  /**
   * @param most - pixels of an image; larger ones are decoded smaller, or a continent's two hours would take a gigabyte
   */
  constructor(private readonly most: number) {}

  get(url: string): ImageBitmap | null {
    return this.#kept.get(url) ?? null;
  }

  /** The decoded image, or null when it cannot be had now (it may be asked for again). */
  load(url: string): Promise<ImageBitmap | null> {
    const kept = this.#kept.get(url);
    if (kept) return Promise.resolve(kept);
    let pending = this.#pending.get(url);
    if (!pending) {
      pending = decode(url, this.most)
        .then((bitmap) => {
          this.#kept.set(url, bitmap);
          return bitmap;
        })
        .catch(() => null)
        .finally(() => this.#pending.delete(url));
      this.#pending.set(url, pending);
    }
    return pending;
  }

  /** Load all, a few at a time, in the given order; stops early when `wanted` turns false. */
  async loadAll(urls: string[], wanted: () => boolean, progress: () => void): Promise<void> {
    const queue = urls.filter((url) => !this.#kept.has(url)).values();
    const worker = async (): Promise<void> => {
      for (const url of queue) {
        if (!wanted()) return;
        await this.load(url);
        progress();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  count(urls: string[]): number {
    return urls.filter((url) => this.#kept.has(url)).length;
  }

  /** Free what is no longer shown. */
  keepOnly(urls: Iterable<string>): void {
    const wanted = new Set(urls);
    for (const [url, bitmap] of this.#kept) {
      if (wanted.has(url)) continue;
      bitmap.close();
      this.#kept.delete(url);
    }
  }
}

async function decode(url: string, most: number): Promise<ImageBitmap> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const blob = await response.blob();
  const { width, height } = await size(blob);
  const scale = Math.sqrt(most / (width * height));
  // "pixelated": a class of rain stays that class
  return createImageBitmap(blob, scale < 1 ? { resizeWidth: Math.round(width * scale), resizeQuality: "pixelated" } : {});
}

/** Of a PNG, from its first chunk: to ask the browser is to decode it. */
export async function size(png: Blob): Promise<{ width: number; height: number }> {
  const head = new DataView(await png.slice(16, 24).arrayBuffer());
  return head.byteLength === 8 ? { width: head.getUint32(0), height: head.getUint32(4) } : { width: 0, height: 0 };
}
