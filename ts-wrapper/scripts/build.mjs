// src + wasm/ (made by `cargo xtask wasm`) -> dist: one self-contained file for each way to get at the module.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
if (!existsSync("wasm/wse_bg.wasm")) {
  console.error("ts-wrapper/wasm/ is missing: run `cargo xtask wasm` first");
  process.exit(1);
}
rmSync("dist", { recursive: true, force: true });

const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  outdir: "dist",
  legalComments: "none",
  external: ["wse-client", "react", "node:*", "*.wasm"],
};
const packed = deflateRawSync(readFileSync("wasm/wse_bg.wasm"), { level: 9 }).toString("base64");
await Promise.all([
  build({ ...common, entryPoints: ["node", "browser", "worker"].map((name) => `src/load/${name}.ts`) }),
  build({ ...common, entryPoints: ["src/load/inline.ts"], define: { __WSE_WASM__: JSON.stringify(packed) } }),
  build({ ...common, entryPoints: [{ in: "src/react/index.ts", out: "react" }], banner: { js: '"use client";' } }),
]);
copyFileSync("wasm/wse_bg.wasm", "dist/wse_bg.wasm");
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], { stdio: "inherit" });
