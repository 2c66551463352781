// What users do: install the packed package into an empty project, build, run. Nothing here sees the sources.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, createReadStream, existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../test/chromium.mjs";
import { startServer } from "../test/run-server.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const wrapper = fileURLToPath(new URL("..", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "wse-packaging-"));
let server, archive;

const npm = (cwd, ...args) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const node = (cwd, ...args) => execFileSync(process.execPath, args, { cwd, encoding: "utf8", timeout: 60_000 });

before(async () => {
  assert.ok(existsSync(join(wrapper, "dist/wse_bg.wasm")), "the package is not built: `npm run build` in ts-wrapper");
  const [packed] = JSON.parse(npm(wrapper, "pack", "--json", "--pack-destination", work));
  archive = join(work, packed.filename);
  server = await startServer();
});

after(async () => {
  await server?.stop();
  rmSync(work, { recursive: true, force: true });
});

/** A copy of a folder beside this file, with the archive installed and the tools of the wrapper in reach. */
function project(name) {
  const dir = join(work, name);
  cpSync(join(here, name), dir, { recursive: true });
  npm(dir, "install", "--offline", "--no-audit", "--no-fund", "--legacy-peer-deps", archive);
  for (const tool of ["react", "react-dom", "scheduler", "vite", "@vitejs", "typescript", "@types", "ws", "csstype", "undici-types"]) {
    const [from, to] = [join(wrapper, "node_modules", tool), join(dir, "node_modules", tool)];
    if (existsSync(from) && !existsSync(to)) symlinkSync(from, to);
  }
  return dir;
}

test("plain Node: import, connect, publish, receive", () => {
  const dir = project("node");
  assert.equal(node(dir, "main.mjs", server.url).trim(), 'chat {"n":1}');
});

test("server rendering imports the hook and opens nothing", () => {
  const dir = join(work, "node");
  assert.equal(node(dir, "ssr.mjs", server.url).trim(), "<p>idle</p> 0 sockets");
});

test("TypeScript sees the types without skipLibCheck", () => {
  const dir = project("vite-react");
  node(dir, "node_modules/typescript/bin/tsc", "--noEmit");
});

test("Vite and React: build, then run in Chromium", async () => {
  const dir = join(work, "vite-react");
  node(dir, "node_modules/vite/bin/vite.js", "build", "--logLevel", "error");
  await shows(join(dir, "dist"));
});

async function shows(folder) {
  const files = createServer((request, response) => {
    const asked = new URL(request.url, "http://x").pathname;
    const path = asked === "/" ? "/index.html" : asked;
    const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm", ".css": "text/css" };
    if (!existsSync(join(folder, path))) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": types[extname(path)] ?? "application/octet-stream" });
    createReadStream(join(folder, path)).pipe(response);
  });
  await new Promise((resolve) => files.listen(0, "127.0.0.1", resolve));
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const troubles = [];
    page.on("pageerror", (error) => troubles.push(error.message));
    const loaded = [];
    page.on("response", (response) => loaded.push(response.url()));
    await page.goto(`http://127.0.0.1:${files.address().port}/?url=${encodeURIComponent(server.url)}`);
    await page.locator("#out", { hasText: 'connected {"n":1}' }).waitFor({ timeout: 15_000 });
    assert.deepEqual(troubles, []);
    assert.ok(loaded.some((url) => url.endsWith(".wasm")), "a build loads the module as a file of its own");
  } finally {
    await browser.close();
    files.close();
  }
}
