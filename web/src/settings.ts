/** Language, appearance, time zone and colours: chosen here, kept in the address. */
import type { Palette } from "./contract";
import { byId, option } from "./dom";
import { language, text, translate } from "./text";
import { LANGUAGES, show, type Language, type Theme, view, type Zone } from "./view";

const NAMES: Record<Language, string> = { en: "English", de: "Deutsch", zh: "中文" };
const THEMES = ["auto", "light", "dark"] as const;
const ZONES = ["local", "utc"] as const;
const darkDevice = matchMedia("(prefers-color-scheme: dark)");

export function theme(): "light" | "dark" {
  const chosen = view().theme;
  return chosen === "auto" ? (darkDevice.matches ? "dark" : "light") : chosen;
}

/** Whether the reader's device asks for stillness: nothing then moves before it is asked to. */
export const reducedMotion = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function installSettings(changed: () => void): void {
  const choose = <T extends string>(id: string, take: (value: T) => void): void => {
    const select = byId<HTMLSelectElement>(id);
    select.addEventListener("change", () => take(select.value as T));
  };
  choose<Language>("language", (language) => show({ language }));
  choose<Theme>("theme", (theme) => show({ theme }));
  choose<Zone>("zone", (zone) => show({ zone }));
  choose<string>("palette", (palette) => show({ palette: palette || null }));
  darkDevice.addEventListener("change", changed);
  const details = byId<HTMLDetailsElement>("settings");
  document.addEventListener("click", (event) => {
    if (!details.contains(event.target as Node)) details.open = false;
  });
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    details.open = false;
    details.querySelector("summary")?.focus();
  });
}

/** Bring the page's words and colours to the settings. */
export function applySettings(palettes: Palette[]): void {
  document.documentElement.dataset["theme"] = theme();
  translate();
  fill("language", LANGUAGES.map((one) => [one, NAMES[one]]), language());
  fill("theme", THEMES.map((one) => [one, text(`theme.${one}`)]), view().theme);
  fill("zone", ZONES.map((one) => [one, text(`zone.${one}`)]), view().zone);
  const rates = palettes.filter(({ kind }) => kind === "rate").map(({ name }) => name);
  fill("palette", rates.map((name, k) => [k ? name : "", name]), view().palette ?? "");
  byId("palette-label").hidden = rates.length < 2;
}

function fill(id: string, options: [value: string, label: string][], chosen: string): void {
  byId<HTMLSelectElement>(id).replaceChildren(...options.map(([value, label]) => option(value, label, value === chosen)));
}
