// What a real Chromium says about its network and its page, and what the client makes of it.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../chromium.mjs";
import { startServer } from "../run-server.mjs";

const dist = fileURLToPath(new URL("../../dist", import.meta.url));
let server, browser, page;

before(async () => {
  server = await startServer(["--static", dist]);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A page with a connected client in `client`, that counts what it dials and what it sends. */
beforeEach(async () => {
  await page?.close();
  page = await browser.newPage();
  await page.goto(`${server.http}/wse/health`);
  await page.evaluate(async (url) => {
    const Plain = globalThis.WebSocket;
    globalThis.counts = { dialled: 0, sent: 0 };
    globalThis.WebSocket = class extends Plain {
      constructor(...args) {
        super(...args);
        globalThis.counts.dialled += 1;
      }
      send(frame) {
        globalThis.counts.sent += 1;
        super.send(frame);
      }
    };
    const { WseClient } = await import("/browser.js");
    globalThis.client = new WseClient({ endpoints: [url], reconnection: { initialDelay: 300, maxDelay: 30_000, backoffMultiplier: 1 } });
    await globalThis.client.connect();
  }, server.url);
});

const counts = () => page.evaluate(() => ({ ...globalThis.counts, state: globalThis.client.connectionState }));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, check, ms) {
  const end = Date.now() + ms;
  while (!(await check())) {
    assert.ok(Date.now() < end, `never came true: ${what}, ${JSON.stringify(await counts())}`);
    await pause(20);
  }
}

test("offline it dials nothing, and once online it is back at once", async () => {
  const { port } = server;
  await server.stop();
  await until("a few attempts, as long as the page is online", async () => (await counts()).dialled > 3, 5000);
  await page.context().setOffline(true);
  await until("offline is seen", () => page.evaluate(() => !navigator.onLine), 2000);
  await page.evaluate(() => globalThis.client.send({ type: "kept" }));
  await pause(200); // an attempt that was under way
  const before = (await counts()).dialled;
  await pause(2000); // time for seven attempts at least
  assert.deepEqual(await counts(), { ...(await counts()), dialled: before, state: "reconnecting" });

  server = await startServer(["--static", dist], port);
  await page.context().setOffline(false);
  await until("connected again", async () => (await counts()).state === "connected", 2000);
  await until("sent", () => page.evaluate(() => globalThis.client.metrics.messagesQueued === 0), 2000);
  assert.equal((await counts()).dialled, before + 1);
});

// Chromium does not freeze a page that is seen, and headless every page is: so the events are the test's own.
for (const [name, told] of [
  ["thaws", ["freeze", "resume"]],
  ["is seen again", ["visibilitychange"]],
]) {
  test(`a connection has to prove itself when the page ${name}`, async () => {
    const before = (await counts()).sent;
    await page.evaluate((types) => types.forEach((type) => document.dispatchEvent(new Event(type))), told);
    await until("a ping", async () => (await counts()).sent > before, 2000);
    assert.deepEqual(await counts(), { dialled: 1, sent: before + 1, state: "connected" });
  });
}

test("a client that was closed listens to nothing any more", async () => {
  await page.evaluate(() => globalThis.client.close());
  await page.context().setOffline(true);
  await page.context().setOffline(false);
  await pause(700);
  assert.deepEqual([(await counts()).dialled, (await counts()).state], [1, "closed"]);
});
