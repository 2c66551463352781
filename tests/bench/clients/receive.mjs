// Opens receive.html in headless Chromium and prints what receiving cost the page's process.
// usage: node receive.mjs PLAYWRIGHT_FOLDER PAGE_URL
import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [folder, url] = process.argv.slice(2);
const { chromium } = createRequire(join(folder, "package.json"))("playwright-core");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
const profile = mkdtempSync(join(tmpdir(), "wse-bench-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.WSE_CHROMIUM ?? "/usr/bin/chromium",
  args: [...flags, ...quiet],
});
try {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(error.message));
  await page.goto(url);
  await page.waitForFunction("window.ready", null, { timeout: 30_000 });
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  // Thread time of the page's main thread, where the client runs.
  const cpu = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "TaskDuration").value;
  };
  const before = await cpu();
  console.log("ready");
  await page.waitForFunction("window.result", null, { timeout: 300_000, polling: 100 });
  const result = await page.evaluate("window.result");
  console.log(JSON.stringify({ ...result, cpu_seconds: (await cpu()) - before }));
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
