import { beforeEach, expect, test } from "vitest";

import { heard } from "../src/clock";
import type { Palette, Summary, Timeline } from "../src/contract";
import messages from "../src/messages.json";
import { complete, identity, indexOf } from "../src/feed";
import { imageOf, onMap, shown } from "../src/products";
import { findPlace } from "../src/search";
import { sentence } from "../src/summary";
import { percent, seenBy } from "../src/timeline";
import { show } from "../src/view";

beforeEach(() => show({ language: "en", zone: "utc" }));

const dry: Summary = { text: "", state: "dry", starts: null, ends: null, amount_low: 0, amount_high: 0, unit: "mm", probability: 0.05, until: "2026-11-21T11:40:00Z" };
const wet: Summary = { ...dry, state: "rain_expected", starts: "2026-11-21T10:55:00Z", ends: "2026-11-21T11:30:00Z", amount_low: 0.4, amount_high: 1.2, probability: 0.8 };

test("the summary is a sentence in each language", () => {
  heard("2026-11-21T09:40:00Z", 60);
  expect(sentence(dry)).toBe("No rain expected in the next two hours. Chance of rain: 5\u00a0%.");
  expect(sentence(wet)).toBe("Rain from about 10:55 to 11:30. 0.4–1.2\u00a0mm in its first hour. Chance of rain: 80\u00a0%.");
  expect(sentence({ ...wet, state: "raining", starts: null, ends: null, probability: null })).toBe("Raining now, for at least two hours. 0.4–1.2\u00a0mm in the next hour.");
  expect(sentence({ ...dry, state: "not_seen" })).toContain("does not mean dry");
  expect(sentence({ ...dry, state: "over", until: null })).toBe("The newest forecast is over, so nothing can be said: that does not mean dry.");
  show({ language: "de" });
  expect(sentence(wet)).toContain("Regen von etwa 10:55 bis 11:30.");
  show({ language: "zh" });
  expect(sentence(wet)).toContain("约 10:55 至 11:30 有雨。");
});

test("the summary promises no more than is known", () => {
  heard("2026-11-21T09:40:00Z", 60);
  const short = { until: "2026-11-21T10:05:00Z", probability: null };
  expect(sentence({ ...dry, ...short })).toBe("No rain expected until about 10:05; what follows is not known.");
  const raining: Summary = { ...wet, ...short, state: "raining", starts: null, ends: null, amount_low: null, amount_high: null };
  expect(sentence(raining)).toBe("Raining now, at least until about 10:05.");
  expect(sentence({ ...raining, ends: "2026-11-21T09:55:00Z" })).toBe("Raining now, until about 09:55.");
  expect(sentence({ ...dry, until: null })).toContain("does not mean dry");
  expect(sentence({ ...wet, until: null })).toContain("Rain from about 10:55 to 11:30.");
});

test("two hours are not promised by a run that is late", () => {
  heard("2026-11-21T09:40:00Z", 60);
  expect(sentence({ ...dry, until: "2026-11-21T11:32:00Z", probability: null })).toBe("No rain expected in the next two hours.");
  expect(sentence({ ...dry, until: "2026-11-21T11:30:00Z", probability: null })).toBe("No rain expected until about 11:30; what follows is not known.");
});

test("every message has the same places to fill in in every language", () => {
  const places = (words: string): string[] => (words.match(/\{\w+\}/g) ?? []).sort();
  for (const [key, words] of Object.entries(messages.en)) {
    expect(places(messages.de[key as keyof typeof messages.de]), key).toEqual(places(words));
    expect(places(messages.zh[key as keyof typeof messages.zh]), key).toEqual(places(words));
  }
});

function run(products: string[]): Timeline {
  const steps = [
    { valid_time: "", kind: "observed" as const, lead_minutes: null, images: { observed: "/o.png" } },
    { valid_time: "", kind: "forecast" as const, lead_minutes: 5, images: Object.fromEntries(products.map((p) => [p, `/${p}.png`])) },
  ];
  return { products, steps } as unknown as Timeline;
}

test("products are offered where the run has them", () => {
  expect(shown(run(["rain_mean"]))).toEqual(["rain_mean"]);
  const ensemble = ["prob_10", "rain_member_01", "rain_p90", "rain_mean", "prob_0.1", "accumulated"];
  expect(shown(run(ensemble))).toEqual(["rain_mean", "rain_p90", "prob_0.1", "prob_10", "accumulated", "members"]);
  expect(onMap(run(["rain_mean"]), "prob_1")).toBe("rain_mean");
  expect(onMap(run(ensemble), "members")).toBe("rain_mean");
});

test("who saw an observed step is told, and nobody of a step without an image or of a forecast", () => {
  const [observed, forecast] = run(["rain_mean"]).steps;
  expect(seenBy({ ...observed!, source: "knmi" })).toBe("knmi");
  expect(seenBy({ ...observed!, source: "knmi", images: {} })).toBe("");
  expect(seenBy(observed!)).toBe("");
  expect(seenBy(forecast!)).toBe("");
});

test("a chosen palette colours its kind, its sister the others", () => {
  const palettes = [
    { name: "rain", kind: "rate" },
    { name: "viridis", kind: "rate" },
    { name: "chance", kind: "probability" },
    { name: "chance-viridis", kind: "probability" },
  ] as Palette[];
  const [observed, forecast] = run(["prob_1", "accumulated"]).steps;
  expect(imageOf(observed!, "prob_1", palettes, null)).toBe("/o.png");
  expect(imageOf(observed!, "prob_1", palettes, "viridis")).toBe("/o.png?palette=viridis");
  expect(imageOf(forecast!, "prob_1", palettes, "viridis")).toBe("/prob_1.png?palette=chance-viridis");
  expect(imageOf(forecast!, "rain_p10", palettes, null)).toBeNull();
});

test("places are found by the beginning of their name, without accents or case", () => {
  const places = [{ name: "Zürich", lat: 47.4, lon: 8.5 }, { name: "Bad Zurzach", lat: 47.6, lon: 8.3 }];
  expect(findPlace("zurich", places)?.lat).toBe(47.4);
  expect(findPlace("zurz", places)?.lat).toBe(47.6);
  expect(findPlace("47.1, 8", places)).toEqual({ lat: 47.1, lon: 8 });
  expect(findPlace("nowhere", places)).toBeNull();
});

test("a time that was not observed is a step without an image", () => {
  const at = (minute: number, kind: "observed" | "forecast") => ({ ...run(["rain_mean"]).steps[kind === "observed" ? 0 : 1]!, valid_time: new Date(minute * 60_000).toISOString() });
  const made = complete({ base_time: new Date(10 * 60_000).toISOString(), steps: [at(0, "observed"), at(15, "forecast")] } as Timeline);
  expect(made.steps.map((step) => Object.keys(step.images).length)).toEqual([1, 0, 0, 1]);
  expect(indexOf(made, null)).toBe(2);
});

test("every step is kept when a run's times are no multiples of five minutes", () => {
  const minutes = (...times: number[]) => times.map((minute) => new Date(minute * 60_000).toISOString());
  const steps = [
    ...minutes(0, 2, 4, 16, 18, 22).map((valid_time) => ({ valid_time, kind: "observed", images: { observed: "/o.png" } })),
    ...minutes(27, 32).map((valid_time) => ({ valid_time, kind: "forecast", images: { rain_mean: "/r.png" } })),
  ];
  const made = complete({ base_time: minutes(22)[0], steps } as unknown as Timeline);
  expect(made.steps.map((step) => step.valid_time)).toEqual(minutes(0, 2, 4, 7, 12, 16, 18, 22, 27, 32));
  expect(made.steps.filter((step) => Object.keys(step.images).length === 0).map((step) => step.valid_time)).toEqual(minutes(7, 12));
  expect(made.steps[indexOf(made, null)]!.valid_time).toBe(minutes(22)[0]);
  expect(identity(made)).not.toBe(identity({ ...made, steps: made.steps.slice(1) }));
});

test("marks on the time line stand where the slider does at their time", () => {
  const timeline = { steps: [0, 2, 4, 9, 14].map((minute) => ({ valid_time: new Date(minute * 60_000).toISOString() })) } as Timeline;
  expect([-1, 0, 4, 6.5, 14, 15].map((minute) => percent(timeline, minute * 60_000))).toEqual([0, 0, 50, 62.5, 100, 100]);
});
