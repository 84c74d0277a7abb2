import { createHash } from "node:crypto";

import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

import { atlas } from "./build/atlas.ts";

const map = atlas();
/** Named by its digest, as everything under `assets/`: it may be kept for ever. */
const name = `assets/atlas-${createHash("sha256").update(map).digest("hex").slice(0, 8)}.json`;

/** Serves and emits the base map, and says in the page where it is. */
function baseMap(): Plugin {
  return {
    name: "base-map",
    configureServer: (server) => void server.middlewares.use(`/${name}`, (_request, response) => void response.end(map)),
    transformIndexHtml: {
      order: "post",
      handler: (html, { bundle }) => {
        // the map's code is fetched along with the page's, and run once the first frame is on its way
        const chunks = Object.values(bundle ?? {}).filter((one) => one.type === "chunk" && one.name === "map");
        const tags = chunks.map(({ fileName }) => ({ tag: "link", attrs: { rel: "modulepreload", href: `./${fileName}` } }));
        return { html: html.replace("%ATLAS%", `./${name}`), tags };
      },
    },
    generateBundle() {
      this.emitFile({ type: "asset", fileName: name, source: map });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [baseMap()],
  build: {
    outDir: "../api/static",
    emptyOutDir: true,
    target: "es2022",
    // no data: URIs and no inline script: the page runs under a policy of 'self' alone
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1200,
  },
  test: { setupFiles: "tests/setup.ts" },
  server: { proxy: { "/v1": process.env["NOWCAST_API"] ?? "http://127.0.0.1:8000" } },
});
