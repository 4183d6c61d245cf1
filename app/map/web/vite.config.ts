import { defineConfig } from "vite";

export default defineConfig({
  // Relative, so that the page works behind a load balancer that adds a prefix.
  base: "./",
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    assetsDir: "map-assets",
    assetsInlineLimit: 0,
    // The licences of what is bundled go out with it.
    license: { fileName: "map-assets/licences.md" },
    modulePreload: { polyfill: false },
    target: "es2023",

    chunkSizeWarningLimit: 1500,
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  worker: { format: "es" },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  logLevel: "warn",
});
