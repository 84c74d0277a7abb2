import { expect, test } from "vitest";

import { decode, DEFAULT, encode, parsePoint } from "../src/view";

test("a link reopens the same view", () => {
  const view = {
    ...DEFAULT,
    region: "lowlands",
    product: "prob_0.1",
    time: Date.parse("2026-11-21T10:35Z"),
    at: { lat: 52.1234, lon: -5.2 },
    camera: { zoom: 6.25, lat: 52, lon: 5 },
    page: "status" as const,
    language: "zh" as const,
    theme: "dark" as const,
    zone: "utc" as const,
    palette: "viridis",
  };
  expect(decode(`#${encode(view)}`)).toEqual(view);
  expect(encode(DEFAULT)).toBe("");
});

test.each(["#at=91,5", "#at=5", "#time=soon&at=x,y", "#map=1/2", "#lang=fr&theme=pink&page=x&zone=mars"])("nonsense in %s is left out", (hash) => {
  expect(decode(hash)).toEqual(DEFAULT);
});

test.each([
  ["52.1, 5.2", { lat: 52.1, lon: 5.2 }],
  [" -33.9 18.4 ", { lat: -33.9, lon: 18.4 }],
  ["52;5", { lat: 52, lon: 5 }],
  ["52.1", null],
  ["200, 5", null],
  ["Utrecht", null],
  ["", null],
])("coordinates: %s", (typed, point) => expect(parsePoint(typed)).toEqual(point));
