import { beforeEach, expect, test } from "vitest";

import { size } from "../src/frames";
import { flat } from "../src/lives";
import { covered, flag, served } from "../src/stateline";
import { show } from "../src/view";

beforeEach(() => show({ language: "en" }));

test.each([
  [1, 0, "100\u00a0%"],
  [0.9999, 0, "99\u00a0%"], // not all
  [0.904, 0.05, "90\u00a0%, of it 5\u00a0% by satellite"],
  [0.5, 0.0001, "50\u00a0%, of it < 1\u00a0% by satellite"], // not nothing
  [0, 0, "0\u00a0%"],
])("a share of %f with %f by satellite is never rounded to all or nothing", (coverage, satellite, said) => {
  expect(covered({ coverage, satellite })).toBe(said);
});

test("a model on trial is said to be on trial", () => {
  expect(served({ model: "edge", state: "promoted" })).toBe("edge");
  expect(served({ model: "edge-2", state: "canary" })).toBe("edge-2 (canary)");
  expect(served({ model: "edge-2", state: "new-state" })).toBe("edge-2 (new-state)");
});

test("every flag that a run may have is in words", () => {
  const flags = ["late", "very-late", "frames-missing", "lower-rung", "stuck", "partial", "clutter", "revision", "out-of-order", "all-dry", "hindcast"];
  for (const name of flags) expect(flag(name), name).not.toBe(name);
});

test("evidence is told by its path", () => {
  const numbers = { cycles: 36, low: null, csi: { "1": 0.01 }, regimes: { dry: { cycles: 3 } }, interval: [0.1, 0.25] };
  expect(flat(numbers)).toEqual([["cycles", "36"], ["low", "–"], ["csi 1", "0.01"], ["regimes dry cycles", "3"], ["interval", "0.1 … 0.25"]]);
});

test("the size of a PNG is read from its head", async () => {
  const head = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 0, 2, 1, 0, 0, 0, 7];
  expect(await size(new Blob([new Uint8Array(head)]))).toEqual({ width: 513, height: 7 });
  expect(await size(new Blob([]))).toEqual({ width: 0, height: 0 });
});
