import { expect, test } from "vitest";

import { Player } from "../src/player";

const MINUTE = 60_000;
const times = (start: number): number[] => Array.from({ length: 49 }, (_, k) => (start + 5 * k) * MINUTE);
const player = (ready = (_: number) => true): Player => new Player(ready, () => undefined);

test("follows the newest observation until the reader looks elsewhere", () => {
  const one = player();
  one.setTimes(times(0), 24, null);
  expect([one.index, one.time]).toEqual([24, null]);
  one.setTimes(times(5), 24, one.time);
  expect([one.index, one.time]).toEqual([24, null]);
});

test("a new run leaves the reader at the time looked at", () => {
  const one = player();
  one.setTimes(times(0), 24, null);
  one.seek(30);
  one.setTimes(times(5), 24, one.time);
  expect([one.index, one.time]).toEqual([29, 150 * MINUTE]);
  one.setTimes(times(1000), 24, one.time); // that time is gone
  expect(one.index).toBe(0);
});

test("playing goes on at its place when a run arrives, and does not follow the newest", () => {
  const one = player();
  one.setTimes(times(0), 24, null);
  one.play(false);
  one.tick(1 / one.fps);
  one.setTimes(times(5), 24, null);
  expect([one.index, one.playing]).toEqual([24, true]);
});

test("plays each frame in turn, waits for one that is not decoded, holds at the end and begins again", () => {
  let decoded = 25;
  const one = player((index) => index <= decoded);
  one.setTimes(times(0), 24, null);
  one.play(false);
  for (let k = 0; k < 5; k++) one.tick(1 / one.fps);
  expect(one.index).toBe(25);
  decoded = 48;
  for (let k = 0; k < 23; k++) one.tick(1 / one.fps);
  expect(one.index).toBe(48);
  one.tick(1 / one.fps);
  expect(one.index).toBe(48);
  for (let k = 0; k < one.fps; k++) one.tick(1 / one.fps);
  expect(one.index).toBeLessThan(2);
});

test("a long pause of the browser moves one step on, not many", () => {
  const one = player();
  one.setTimes(times(0), 24, null);
  one.play(false);
  one.tick(10);
  expect(one.index).toBe(25);
});

test("once means from now to the end and back to now", () => {
  const one = player();
  one.setTimes(times(0), 24, null);
  one.play(true);
  for (let k = 0; k < 40; k++) one.tick(1 / one.fps);
  expect([one.index, one.playing, one.time]).toEqual([24, false, null]);
});
