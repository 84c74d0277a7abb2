/** Words, times and numbers in the reader's language. Every word of the page is in `messages.json`. */
import messages from "./messages.json";
import { LANGUAGES, type Language, view } from "./view";

export type Key = keyof typeof messages.en;

/** A language that lacks a message does not compile. */
const catalogue: Record<Language, Record<Key, string>> = messages;

export function language(): Language {
  const wanted = [view().language, ...navigator.languages.map((tag) => tag.slice(0, 2))];
  return LANGUAGES.find((one) => one === wanted.find((tag) => LANGUAGES.includes(tag as Language))) ?? "en";
}

/** The reader's own variety of that language, where the browser says one: its zone names and separators. */
const locale = (): string => navigator.languages.find((tag) => tag.split("-")[0] === language()) ?? language();

export function text(key: Key, values: Record<string, string | number> = {}): string {
  return catalogue[language()][key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

export const isKey = (key: string): key is Key => key in messages.en;

/** Hours and minutes, in the zone that the reader chose. */
export const clock = (time: string | number): string => format(time, view().zone === "utc" ? "UTC" : undefined);

/** The short name of that zone, such as CET. */
export function zoneName(time: string | number): string {
  if (view().zone === "utc") return "UTC";
  const parts = new Intl.DateTimeFormat(locale(), { hour: "numeric", timeZoneName: "short" }).formatToParts(new Date(time));
  return parts.find(({ type }) => type === "timeZoneName")?.value ?? "";
}

/** Hours and minutes UTC, as forecasters name runs. */
export const utc = (time: string | number): string => `${format(time, "UTC")} UTC`;

/** Day and time UTC, for lists that span a day. */
export function dayUtc(time: string | number): string {
  return new Date(time).toISOString().slice(0, 16).replace("T", " ");
}

function format(time: string | number, timeZone: string | undefined): string {
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone } as const;
  return new Intl.DateTimeFormat(locale(), options as Intl.DateTimeFormatOptions).format(new Date(time));
}

export function number(value: number, digits = 1): string {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);
}

export function age(minutes: number): string {
  const whole = Math.max(0, Math.floor(minutes));
  if (whole < 60) return text("age", { minutes: whole });
  return text("age.hours", { hours: Math.floor(whole / 60), minutes: whole % 60 });
}

/** Fill in the words of the static page: `data-text` is the content, `data-label` the accessible name and tooltip. */
export function translate(root: ParentNode = document): void {
  document.documentElement.lang = language();
  document.title = text("title");
  for (const node of root.querySelectorAll<HTMLElement>("[data-text]")) node.textContent = text(node.dataset["text"] as Key);
  for (const node of root.querySelectorAll<HTMLElement>("[data-label]")) {
    const label = text(node.dataset["label"] as Key);
    node.setAttribute("aria-label", label);
    if (node.matches("button, a")) node.title = label;
    if (node instanceof HTMLInputElement && node.type === "search") node.placeholder = label;
  }
}
