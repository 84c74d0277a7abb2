import { expect, test } from "vitest";

import { freshness, heard, serviceNow } from "../src/clock";

test("age counts on between answers, at the service's own pace", () => {
  const base = "2026-11-21T10:00:00Z";
  heard(base, 60, 0);
  expect(serviceNow(1000) - Date.parse(base)).toBe(61_000);
  heard(base, 360, 5000); // 300 s in 5 s: a demonstration
  expect(serviceNow(6000) - Date.parse(base)).toBe(420_000);
  expect([9, 11, 21].map(freshness)).toEqual(["fresh", "late", "old"]);
});
