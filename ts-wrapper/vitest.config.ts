import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const dist = (file: string) => fileURLToPath(new URL(`./dist/${file}`, import.meta.url));

// The tests run what ships: `npm test` builds first. The server is started once, by test/server.ts.
export default defineConfig({
  resolve: {
    alias: [
      { find: /^wse-client$/, replacement: dist("node.js") },
      { find: /^wse-client\/react$/, replacement: dist("react.js") },
      { find: /^wse-client\/inline$/, replacement: dist("inline.js") },
    ],
  },
  test: {
    globalSetup: ["test/server.ts"],
    setupFiles: ["test/setup.ts"],
    testTimeout: 15_000,
    // As in an application: packages are loaded by Node itself, not rewritten by Vite.
    server: { deps: { external: [/\/ts-wrapper\/dist\//] } },
    projects: [
      { extends: true, test: { name: "node", environment: "node", include: ["test/*.test.ts"] } },
      { extends: true, test: { name: "jsdom", environment: "jsdom", include: ["test/*.test.tsx"] } },
    ],
  },
});
