// The built demo page in a real Chromium, against the real server and the real feed.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../chromium.mjs";
import { program, startServer } from "../run-server.mjs";

const root = new URL("../../../", import.meta.url);
const page_dir = fileURLToPath(new URL("examples/demo/dist", root));
const shots = fileURLToPath(new URL("target/screenshots", root));
let server, feed, browser, page;
const troubles = [];

before(async () => {
  assert.ok(existsSync(`${page_dir}/index.html`), "the demo page is not built: `npm ci && npm run build` in examples/demo");
  mkdirSync(shots, { recursive: true });
  server = await startServer(["--static", page_dir]);
  feed = spawn(program("WSE_FEED_BIN", "wse-feed"), ["--url", server.url], { stdio: "ignore" });
  browser = await launch();
  page = await browser.newPage({ viewport: { width: 1280, height: 980 } });
  page.on("pageerror", (error) => troubles.push(error.message));
  page.on("console", (message) => message.type() === "error" && troubles.push(message.text()));
  await page.goto(server.http);
});

after(async () => {
  await browser?.close();
  feed?.kill();
  await server?.stop();
});

const at = (name) => page.locator(`[data-testid="${name}"]`);
const points = async (kind) => Number(await at(kind).getAttribute("data-points"));
const state = () => at("state").textContent();

async function until(what, check, ms = 10_000) {
  const end = Date.now() + ms;
  while (!(await check())) {
    assert.ok(Date.now() < end, `never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The newest sample that a chart shows moves on. */
async function moves(kind) {
  const before = await at(kind).getAttribute("data-newest");
  await until(`${kind} moves`, async () => (await at(kind).getAttribute("data-newest")) !== before);
}

test("connects, and every chart moves", async () => {
  await until("connected", async () => (await state()) === "connected");
  for (const kind of ["cpu", "memory", "network", "disk"]) {
    await moves(kind);
    await until(`${kind} has points`, async () => (await points(kind)) > 20);
    assert.match(await at(kind).locator(".value").first().textContent(), /\d/);
  }
  assert.match(await at("latency").textContent(), /^[\d.]+ ms$/);
});

test("a topic that is unsubscribed stands still, and moves again", async () => {
  const chip = page.getByRole("button", { name: "host:cpu" });
  await chip.click();
  await until("unsubscribed in the log", async () => (await page.locator("li.state b", { hasText: "unsubscribed" }).count()) > 0);
  const still = await at("cpu").getAttribute("data-newest");
  await moves("memory");
  await moves("memory");
  assert.equal(await at("cpu").getAttribute("data-newest"), still);
  await chip.click();
  await moves("cpu");
});

test("a message that is sent comes back by its topic", async () => {
  await page.getByLabel("show the feed").uncheck();
  await page.getByLabel("text to send").fill("grüße from Chromium");
  await page.getByRole("button", { name: "Send" }).click();
  const row = page.locator("li.message", { hasText: "grüße from Chromium" });
  await row.waitFor({ timeout: 5000 });
  assert.equal(await row.locator("b").textContent(), "chat");
});

test("a connection that is cut comes back by itself, subscribed", async () => {
  const cut = page.getByRole("button", { name: "Cut connection" });
  await cut.click();
  // Its pause is drawn from zero on, so `reconnecting` may be too short to be seen from here.
  await until("a second connection", async () => (await at("connections").textContent()) === "2");
  await until("connected again", async () => (await state()) === "connected");
  await moves("cpu");
  await page.getByLabel("show the feed").check();
  await page.screenshot({ path: `${shots}/demo.png`, fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  await moves("cpu");
  await page.screenshot({ path: `${shots}/demo-dark.png`, fullPage: true });
});

test("a server that restarts is found again", async () => {
  const { port } = server;
  await server.stop();
  await until("noticed", async () => (await state()) !== "connected");
  server = await startServer(["--static", page_dir], port);
  await until("connected again", async () => (await state()) === "connected", 20_000);
  await moves("memory");
});

test("nothing went wrong on the page", () => {
  // Chromium itself writes a line for each dial that found no server.
  const unexpected = troubles.filter((text) => !/WebSocket connection to .* failed/.test(text));
  assert.deepEqual(unexpected, []);
});
