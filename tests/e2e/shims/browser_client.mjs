// A client for the end-to-end tests: the npm package in a real Chromium, driven by JSON lines as the others.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, extname, join, normalize } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const packageFolder = join(dirname(fileURLToPath(import.meta.url)), "../../../ts-wrapper");
const { chromium } = createRequire(join(packageFolder, "package.json"))("playwright-core");
const settings = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const PAGE = `<!doctype html><meta charset="utf-8"><title>client</title><link rel="icon" href="data:,">
<script type="module">
import { WseClient } from "/dist/browser.js";
window.start = async (settings) => {
  const client = new WseClient({
    endpoints: [settings.url],
    encoding: settings.format,
    domEvents: false,
    reconnection: { initialDelay: 100, maxDelay: 1000 },
    security: { encryption: settings.encryption },
    performance: { compression: settings.compression },
    ...(settings.token === null ? {} : { token: settings.token }),
  });
  window.client = client;
  client.on("*", ({ type, id, topic, payload, payloadText }) => say({ event: "message", type, id, topic, payload, text: payloadText }));
  client.onEvent(({ type, disconnect }) => {
    // connect() waits for better times; a wrong token has none.
    if (type === "disconnected" && !disconnect.retryable) say({ event: "failed", code: disconnect.code, detail: disconnect.detail });
  });
  try {
    const server = await client.connect();
    if (settings.topics.length > 0) {
      const { refused, confirmed } = await client.subscribe(settings.topics);
      if (refused.length > 0 || !confirmed) throw new Error("not subscribed: " + JSON.stringify(refused));
    }
    say({ event: "connected", encrypted: server.encrypted });
  } catch (error) {
    say({ event: "failed", code: error.code ?? "EXCEPTION", detail: String(error) });
  }
};
window.send = (order) => {
  const id = client.send({ type: order.type, payload: order.payload, topic: order.topic ?? undefined });
  say({ event: "sent", id });
};
</script>`;

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };

async function answer(request, response) {
  const path = normalize(new URL(request.url, "http://localhost").pathname);
  if (path === "/") return response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
  try {
    const body = await readFile(join(packageFolder, path));
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}

const files = createServer(answer);
await new Promise((listening) => files.listen(0, "127.0.0.1", listening));
const browser = await chromium.launch({
  executablePath: process.env.WSE_CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
});
const page = await browser.newPage();
page.on("pageerror", (error) => console.error(`page: ${error}`));
page.on("console", (message) => console.error(`console: ${message.text()}`));
await page.exposeFunction("say", say);
await page.goto(`http://127.0.0.1:${files.address().port}/`);
await page.waitForFunction(() => "send" in window);
await page.evaluate((settings) => window.start(settings), settings);

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.do === "send") await page.evaluate((order) => window.send(order), order);
  if (order.do === "close") break;
}
await page.evaluate(() => window.client.close());
say({ event: "closed" });
await browser.close();
files.close();
// Keep-alive connections of the browser must not hold this program.
files.closeAllConnections();
