/** The client: one function per answer. A failure is an `ApiError` with the problem's own words. */
import type { Check, History, Palette, Plan, PointForecast, Region, Run, ScorecardEvent, Skill, Slot, Timeline, Transition } from "./contract";

const PATIENCE_MS = 10_000;

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }

  /** True when nothing answered, or nothing of use. */
  get away(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

export const regions = (): Promise<Region[]> => get("/v1/regions");
export const palettes = (): Promise<Palette[]> => get("/v1/palettes");
export const timeline = (region: string): Promise<Timeline> => get(`/v1/regions/${encodeURIComponent(region)}/timeline`);
export const forecast = (lat: number, lon: number, region: string | null): Promise<PointForecast> =>
  get(`/v1/${region ? `regions/${encodeURIComponent(region)}/` : ""}forecast?${at(lat, lon)}`);
export const history = (lat: number, lon: number): Promise<History> => get(`/v1/history?${at(lat, lon)}&hours=2`);
export const slots = (): Promise<Slot[]> => get("/v1/slots?hours=24");
export const runs = (region: string, limit: number): Promise<Run[]> => get(`/v1/runs?region=${encodeURIComponent(region)}&limit=${limit}`);
export const checks = (): Promise<Check[]> => get("/v1/checks?limit=1000");
export const plans = (): Promise<Plan[]> => get("/v1/models");
/** Steps in the lives of models, newest first; those before an id, for paging. */
export const transitions = (limit: number, before: number | null): Promise<Transition[]> =>
  get(`/v1/models/history?limit=${limit}${before === null ? "" : `&before=${before}`}`);
export const skill = (region: string): Promise<Skill[]> => get(`/v1/regions/${encodeURIComponent(region)}/skill?hours=24`);
export const scorecard = (): Promise<ScorecardEvent[]> => get("/v1/scorecard");

export const csvLink = (lat: number, lon: number): string => `/v1/forecast.csv?${at(lat, lon)}`;
export const fileLink = (region: string, baseTime: string): string =>
  `/v1/files/${encodeURIComponent(region)}/${encodeURIComponent(baseTime)}.nc`;

function at(lat: number, lon: number): string {
  return `lat=${lat.toFixed(4)}&lon=${lon.toFixed(4)}`;
}

async function get<T>(path: string): Promise<T> {
  let response: Response;
  try {
    // an answer from the browser's cache would say the age of when it was kept
    response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    throw new ApiError(0, String(error));
  }
  if (response.ok) return (await response.json()) as T;
  const problem: { detail?: string } | null = await response.json().catch(() => null);
  throw new ApiError(response.status, problem?.detail ?? response.statusText);
}
