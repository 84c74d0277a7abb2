/**
 * The service's clock as the page knows it. Each answer says how old its run is; between answers the page counts on.
 *
 * The device's own clock only counts the time between (unlike the browser's stopwatch it goes on while the device
 * sleeps), and need not be right. A demonstration's clock may run faster than the wall's: two answers tell by how much,
 * so that ages stay true.
 */
const ENOUGH_MS = 2_000;

let known: { service: number; here: number } | null = null;
let rate = 1;

/** Learn the service's time from an answer. */
export function heard(baseTime: string, ageSeconds: number, here: number = Date.now()): void {
  const service = Date.parse(baseTime) + ageSeconds * 1000;
  if (known && here - known.here > ENOUGH_MS) {
    const seen = (service - known.service) / (here - known.here);
    rate = seen > 1.5 ? seen : 1;
  }
  if (!known || here - known.here > ENOUGH_MS) known = { service, here };
}

/** The service's time now, ms since 1970; the device's own before the first answer. */
export function serviceNow(here: number = Date.now()): number {
  return known ? known.service + (here - known.here) * rate : Date.now();
}

export const ageMinutes = (baseTime: string): number => (serviceNow() - Date.parse(baseTime)) / 60_000;

export type Freshness = "fresh" | "late" | "old";

/** Ten minutes are two slots: something was missed. Twenty are past what a nowcast is for. */
export function freshness(minutes: number): Freshness {
  return minutes > 20 ? "old" : minutes > 10 ? "late" : "fresh";
}
