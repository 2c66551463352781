// Starts the real server on a free port. Used by vitest's global setup and by the browser tests.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Path of a program of the workspace: from the environment, or the debug build. */
export function program(variable, name) {
  const path = process.env[variable] ?? fileURLToPath(new URL(`../../target/debug/${name}`, import.meta.url));
  if (!existsSync(path)) {
    throw new Error(`${path} does not exist: build it with \`cargo build -p ${name}\`, or name one in ${variable}`);
  }
  return path;
}

/**
 * Runs wse-server with these flags until `stop()`.
 * @param {string[]} flags
 * @returns {Promise<{ port: number, url: string, http: string, stop: () => Promise<void> }>}
 */
export async function startServer(flags = [], port = 0) {
  // Clients that are sent away come back at once: nobody here waits for the seconds over which thousands would be spread.
  const always = ["--host", "127.0.0.1", "--port", String(port), "--drain-window", "0s", "--drain-retry-after", "0s"];
  const child = spawn(program("WSE_SERVER_BIN", "wse-server"), [...always, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", WSE_LOG: "info" },
  });
  const stop = () =>
    new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve();
      child.once("exit", () => resolve());
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), 3000).unref();
    });
  let text = "";
  const found = await new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`wse-server ${why}:\n${text}`));
    const timer = setTimeout(() => fail("did not say its port in 10 s"), 10_000);
    const read = (chunk) => {
      text += chunk;
      const match = /ws:\/\/127\.0\.0\.1:(\d+)\/wse/.exec(text);
      if (match) {
        clearTimeout(timer);
        resolve(Number(match[1]));
      }
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", (error) => fail(`could not be started: ${error.message}`));
    child.once("exit", (code) => fail(`ended with code ${code}`));
  }).catch(async (error) => {
    await stop();
    throw error;
  });
  return { port: found, url: `ws://127.0.0.1:${found}/wse`, http: `http://127.0.0.1:${found}`, stop };
}

/** A token made by the server's own subcommand. */
export async function makeToken(secret, user, ...flags) {
  const { execFileSync } = await import("node:child_process");
  return execFileSync(program("WSE_SERVER_BIN", "wse-server"), ["token", "--secret", secret, "--sub", user, ...flags], {
    encoding: "utf8",
  }).trim();
}
