// The server's console page in a real Chromium, as it is built into the program.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { launch } from "../chromium.mjs";
import { makeToken, startServer } from "../run-server.mjs";

const SECRET = "a secret for the console's browser test";
const KEY = "an-api-key-for-the-console";
const shots = fileURLToPath(new URL("../../../target/screenshots", import.meta.url));
const flags = ["--jwt-secret", SECRET, "--api-key", KEY];
let server, browser, page, client;
const troubles = [];
const requests = [];

before(async () => {
  mkdirSync(shots, { recursive: true });
  server = await startServer(flags);
  client = new WebSocket(`${server.url}?token=${await makeToken(SECRET, "carol")}`);
  await new Promise((resolve, reject) => client.once("open", resolve).once("error", reject));
  browser = await launch();
  page = await browser.newPage({ viewport: { width: 1280, height: 980 } });
  page.on("pageerror", (error) => troubles.push(error.message));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && troubles.push(message.text()));
  page.on("request", (request) => requests.push(request.url()));
  page.on("websocket", (socket) => requests.push(socket.url()));
  await page.exposeFunction("violated", (what) => troubles.push(`against the policy: ${what}`));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => window.violated(`${event.effectiveDirective} ${event.blockedURI}`));
  });
});

after(async () => {
  client?.terminate();
  await browser?.close();
  await server?.stop();
});

const at = (name) => page.getByTestId(name);

async function enter(key) {
  await page.getByLabel("API key").fill(key);
  await page.getByLabel("API key").press("Enter");
}

test("shows nothing without a key, and tells a wrong one", async () => {
  const answer = await page.goto(`${server.http}/console`);
  assert.equal(answer.status(), 200, "built without the console page: run `cargo xtask console` before the server is built");
  assert.match(answer.headers()["content-security-policy"], /default-src 'none'/);
  await page.getByLabel("API key").waitFor();
  assert.equal(await at("tiles").count(), 0);
  await enter("another key");
  await page.getByText("The server does not know this key.").waitFor();
  assert.equal(await at("tiles").count(), 0);
});

test("shows a connection that exists, with the key, and keeps the key in the tab", async () => {
  await enter(KEY);
  await at("connections").getByText("carol").waitFor();
  await page.reload();
  await at("connections").getByText("carol").waitFor();
});

test("the tail shows what the form publishes", async () => {
  await page.getByLabel("topic or pattern to follow").fill("room:*");
  await page.getByRole("button", { name: "Follow" }).click();
  await page.locator('[data-testid="tail-state"]', { hasText: "connected" }).waitFor();
  await at("connections").getByText("this page").waitFor();

  await page.getByLabel("Topic", { exact: true }).fill("room:7");
  await page.getByLabel("Type", { exact: true }).fill("greeting");
  const payload = page.getByLabel("Payload (JSON)");
  await payload.fill('{"text": "grüße",}');
  assert.equal(await payload.getAttribute("aria-invalid"), "true");
  assert.ok(await page.getByRole("button", { name: "Publish" }).isDisabled());
  await payload.fill('{"text": "grüße", "large": 12345678901234567890}');
  await payload.press("Control+Enter");
  await at("published").getByText("Published to room:7: 1 connection").waitFor();
  const row = at("tail").locator("li", { hasText: "grüße" });
  await row.waitFor();
  assert.match(await row.textContent(), /room:7 greeting .*12345678901234567890/);
  await at("topics").getByText("room:7").waitFor();
  await page.screenshot({ path: `${shots}/console.png`, fullPage: true });
});

test("what the server refuses is told in its words", async () => {
  await page.getByLabel("Topic", { exact: true }).fill("room:*");
  await page.getByRole("button", { name: "Publish" }).click();
  await at("published").getByText("INVALID_TOPIC").waitFor();
});

test("a paused tail stands still and goes on", async () => {
  const publish = (text) =>
    fetch(`${server.http}/wse/publish`, {
      method: "POST",
      headers: { "X-API-Key": KEY, "Content-Type": "application/json" },
      body: JSON.stringify({ topic: "room:7", type: "greeting", payload: text }),
    });
  await page.getByRole("button", { name: "Pause" }).click();
  await publish("while it stood");
  await page.getByRole("button", { name: "Go on (1 more)" }).waitFor();
  assert.equal(await at("tail").getByText("while it stood").count(), 0);
  await page.getByRole("button", { name: "Go on" }).click();
  await publish("after");
  await at("tail").getByText("while it stood").waitFor();
});

test("fits a narrow window", async () => {
  await page.setViewportSize({ width: 400, height: 800 });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 400);
  await page.setViewportSize({ width: 1280, height: 980 });
});

test("says that the server is away, and goes on when it is back", async () => {
  const { port } = server;
  await server.stop();
  await page.getByText("The server does not answer").waitFor({ timeout: 15_000 });
  server = await startServer(flags, port);
  await at("state").getByText("live").waitFor({ timeout: 15_000 });
  await page.locator('[data-testid="tail-state"]', { hasText: "connected" }).waitFor({ timeout: 30_000 });
});

test("a server without tokens and keys asks for none", async () => {
  const open = await startServer();
  try {
    await page.goto(`${open.http}/console`);
    await at("tiles").waitFor();
    await page.getByText("Nobody is connected").waitFor();
    await page.getByLabel("topic or pattern to follow").fill("news");
    await page.getByRole("button", { name: "Follow" }).click();
    await page.locator('[data-testid="tail-state"]', { hasText: "connected" }).waitFor();
  } finally {
    await open.stop();
  }
});

test("nothing went wrong on the page, and nothing came from elsewhere", async () => {
  // Chromium itself writes a line for each answer that is no success, and for each server that is away.
  const own = /status of (400|401) |net::ERR_|WebSocket connection to .* failed/;
  assert.deepEqual(troubles.filter((text) => !own.test(text)), []);
  for (const url of requests) {
    assert.match(url, /^(http|ws):\/\/127\.0\.0\.1:\d+\//);
    assert.ok(!url.includes(KEY) && !url.includes(encodeURIComponent(KEY)), "the key is in a URL");
  }
});
