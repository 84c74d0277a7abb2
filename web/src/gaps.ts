/** Times of which there is nothing: they are shown, and never look dry. */

export const FIVE_MINUTES = 300_000;
const NEAR = 60_000;

/** Every five minutes from `base`, back to the first and on to the last of the known times: those without one near. */
export function gaps(known: number[], base: number): number[] {
  const [first, last] = [Math.min(base, ...known), Math.max(base, ...known)];
  const missing: number[] = [];
  for (let time = base - Math.floor((base - first) / FIVE_MINUTES) * FIVE_MINUTES; time <= last; time += FIVE_MINUTES) {
    if (!known.some((one) => Math.abs(one - time) <= NEAR)) missing.push(time);
  }
  return missing;
}
