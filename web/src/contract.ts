/** What the API answers, as far as the page reads it. Times are ISO 8601 UTC; null is not seen, never dry. */

export type Bounds = [west: number, south: number, east: number, north: number];

export interface Place {
  name: string;
  lat: number;
  lon: number;
}

export interface Region {
  name: string;
  title: string;
  bounds: Bounds;
  sources: string[];
  /** Those of its sources that are satellites. */
  satellites: string[];
  model: string;
  newest_base_time: string | null;
  places?: Place[];
}

export interface Step {
  valid_time: string;
  kind: "observed" | "forecast";
  lead_minutes: number | null;
  /** Who saw what was observed; of several radars together the first of them. */
  source?: string | null;
  images: Record<string, string>;
}

export interface Timeline {
  region: string;
  base_time: string;
  published_at: string;
  age_seconds: number;
  stale: boolean;
  expired?: boolean;
  flags: string[];
  rung: string;
  model: string;
  /** Of the model when it served: `promoted` or `canary`. */
  state: string;
  members: number;
  products: string[];
  /** Shares (0 to 1) of the region's cells at the first lead: shown at all, and by satellite. */
  coverage: number;
  satellite: number;
  bounds: Bounds;
  steps: Step[];
}

export interface PaletteClass {
  from: number;
  to: number | null;
  colour: string;
  label: string;
}

export interface Palette {
  name: string;
  kind: "rate" | "probability" | "accumulation";
  unit: string;
  classes: PaletteClass[];
  not_seen: string;
}

export type Column = (number | null)[];

export interface Summary {
  text: string;
  state: "dry" | "raining" | "rain_expected" | "not_seen" | "over";
  starts: string | null;
  ends: string | null;
  amount_low: number | null;
  amount_high: number | null;
  unit: string;
  probability: number | null;
  /** End of what is known without a gap from now on; null when now itself is not. */
  until: string | null;
}

export interface PointForecast {
  region: string;
  lat: number;
  lon: number;
  base_time: string;
  age_seconds: number;
  stale: boolean;
  rung: string;
  model: string;
  flags: string[];
  radar_coverage: string;
  rain_source?: string | null;
  summary?: Summary | null;
  accumulated?: Column;
  minutely_5: { lead_minutes: number[]; end: string[]; rain_mean: Column } & Record<string, unknown>;
}

export interface History {
  observed: { valid_time: string; rain_rate: number | null }[];
  forecast: { base_time: string; valid_time: string; lead_minutes: number; rain_mean: number | null }[];
}

export interface Slot {
  region: string;
  slot: string;
  state: "published" | "degraded" | "refused" | "missing";
  base_time: string | null;
  flags: string[];
  reason: string | null;
}

export interface Run {
  region: string;
  base_time: string;
  published_at: string;
  model: string;
  state: string;
  rung: string;
  plan: string;
  flags: string[];
  stages: Record<string, number>;
}

export interface Check {
  plan: string;
  checked_at: string;
  case: string;
  product: string;
  psnr_all: number | null;
  psnr_wet: number | null;
  passed: boolean;
  /** By how much the CSI against the reference falls short of 1 at the worst threshold; null for probabilities. */
  csi_difference: number | null;
  runtime: string;
  precision: string;
}

/** One score of one maker at one lead, over all runs of a region and a time. */
export interface Skill {
  /** A model, `persistence`, `extrapolation`, or `observed` for what was seen. */
  made_by: string;
  product: string;
  score: string;
  threshold: number | null;
  lead_minutes: number;
  value: number;
  count: number;
  runs: number;
}

/** One event of the published comparison with pysteps. */
export interface ScorecardEvent {
  event: string;
  score: string;
  unit: string;
  lead_minutes: number[];
  /** By maker, one per lead. */
  values: Record<string, Column>;
}

/** One step in the life of a model. */
export interface Transition {
  id: number;
  model: string;
  family: string;
  state: string;
  regions: string[];
  who: string;
  at: string;
  why: string;
  numbers: Record<string, unknown>;
}

/** A compiled plan of a model. */
export interface Plan {
  digest: string;
  model: string;
  runtime: string;
  precision: string;
  versions: Record<string, string>;
}
