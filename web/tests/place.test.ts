import { expect, test, vi } from "vitest";

import * as api from "../src/api";
import { heard } from "../src/clock";
import type { History, PointForecast } from "../src/contract";
import { PlacePanel } from "../src/place";
import { isUnseen, series } from "../src/series";

const at = (minute: number): string => new Date(Date.UTC(2026, 10, 21, 12, minute)).toISOString();

function rows(base: number, observed: [minute: number, rate: number | null][]) {
  const point = { base_time: at(base), minutely_5: { lead_minutes: [5], end: [at(base + 5)], rain_mean: [0] } } as unknown as PointForecast;
  const history: History = { observed: observed.map(([minute, rain_rate]) => ({ valid_time: at(minute), rain_rate })), forecast: [] };
  return series(point, history).rows;
}

test("a time without an observation is not seen, never dry", () => {
  const made = rows(20, [[0, 0], [5, 1], [20, 0]]);
  expect(made.map((row) => row.time)).toEqual([0, 5, 10, 15, 20, 25].map((minute) => Date.parse(at(minute))));
  expect(made.map(isUnseen)).toEqual([false, false, true, true, false, false]);
  expect(rows(10, [[0, 0]]).map(isUnseen)).toEqual([false, true, true, false]); // the base itself too
  expect(rows(12, [[6, 0], [8, 0], [10, 0], [12, 0]]).some(isUnseen)).toBe(false); // every two minutes
  expect(rows(10, []).length).toBe(1);
});

/** As much of an element as the panel asks for. */
function element(): HTMLElement {
  const none = () => undefined;
  const made = { addEventListener: none, setAttribute: none, append: none, replaceChildren: none, toggleAttribute: none, textContent: "" };
  return made as unknown as HTMLElement;
}

test("the place is read again every five minutes, also without a new run", async () => {
  vi.stubGlobal("document", { getElementById: element, createElement: element, documentElement: element() });
  vi.stubGlobal("ResizeObserver", class { observe = () => undefined; });
  const read = vi.spyOn(api, "forecast").mockRejectedValue(new api.ApiError(404, ""));
  const panel = new PlacePanel({ closed: () => undefined, found: () => undefined, region: () => null, isSatellite: () => false });
  const here = Date.now();
  heard(at(0), 0, here - 60_000);
  await panel.open({ lat: 52, lon: 5 });
  panel.tick();
  expect(read).toHaveBeenCalledTimes(1);
  vi.spyOn(Date, "now").mockReturnValue(here + 301_000);
  panel.tick();
  panel.tick();
  expect(read).toHaveBeenCalledTimes(2);
});
