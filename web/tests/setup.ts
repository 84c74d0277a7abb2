/** What the modules under test ask of a browser: an address and a language. */
const events = { addEventListener: () => undefined };
Object.assign(globalThis, { location: { hash: "" }, history: { replaceState: () => undefined, pushState: () => undefined }, ...events });
Object.defineProperty(globalThis, "navigator", { value: { languages: ["en"] }, configurable: true });
