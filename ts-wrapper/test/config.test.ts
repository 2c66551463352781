import { afterEach, describe, expect, it, vi } from "vitest";
import { readFileSync } from "node:fs";
import { VERSION, WseClient, WseError, type WSEConfig } from "wse-client";
import { makeClient } from "./helpers.js";

const URL = "ws://127.0.0.1:9/wse";
const make = (config: object) => new WseClient({ endpoints: [URL], ...config } as WSEConfig);

describe("options", () => {
  afterEach(() => vi.restoreAllMocks());

  it.each([
    [{ reconection: {} }, "unknown option reconection: did you mean reconnection?"],
    [{ maxRetrys: 3 }, "unknown option maxRetrys: did you mean reconnection.maxRetries?"],
    [{ reconnection: { initialdelay: 3 } }, "unknown option reconnection.initialdelay: did you mean reconnection.initialDelay?"],
    [{ security: { encrypt: true } }, "unknown option security.encrypt: did you mean security.encryption?"],
    [{ quite_something_else: 1 }, "unknown option quite_something_else"],
    [{ constructor: 1 }, "unknown option constructor"],
    [{ endpoints: URL }, "endpoints must be an array of strings"],
    [{ endpoints: undefined }, "endpoints must name at least one ws:// or wss:// address"],
    [{ encoding: "xml" }, "encoding must be one of json, text, msgpack"],
    [{ reconnection: { maxRetries: 1.5 } }, "reconnection.maxRetries must be a whole number from 0, or Infinity"],
    [{ reconnection: { maxDelay: Number.NaN } }, "reconnection.maxDelay must be a number"],
    [{ reconnection: 5 }, "reconnection must be an object"],
    [{ token: 5 }, "token must be a string or a function"],
    [{ security: { signing: true } }, "security.signing is not in this version: leave it out or set it to false"],
  ])("%j is refused at once", (config, message) => {
    const attempt = () => make(config);
    expect(attempt).toThrow(new WseError("INVALID_CONFIG", message));
    try {
      attempt();
    } catch (error) {
      expect(error).toMatchObject({ name: "WseError", code: "INVALID_CONFIG", retryable: false });
    }
  });

  it.each([
    [{ offline: { maxSize: 0 } }, /offline\.max_size must be at least 1/],
    [{ performance: { batchSize: 0 } }, /performance\.batch\.size must be at least 1/],
    [{ performance: { batchTimeout: 60_000 } }, /performance\.batch\.timeout must be at most 5 s/],
  ])("the engine refuses %j", async (options, message) => {
    const client = makeClient(options);
    await expect(client.connect()).rejects.toMatchObject({ code: "INVALID_CONFIG", message: expect.stringMatching(message) });
  });

  it("accepts every option of the documentation", () => {
    vi.spyOn(console, "warn").mockImplementation(() => {});
    make({
      topics: ["a"],
      token: () => null,
      encoding: "msgpack",
      domEvents: false,
      reconnection: { maxRetries: Infinity, initialDelay: 1000, maxDelay: 30_000, backoffMultiplier: 1.5 },
      security: { encryption: false, signing: false },
      performance: { compression: true, batchSize: 10, batchTimeout: 100 },
      offline: { enabled: true, maxSize: 1000 },
      diagnostics: { enabled: true },
    });
  });

  it.each([
    ["http://127.0.0.1/wse", /must start with ws:\/\/ or wss:\/\//],
    ["ws://", /names no host/],
    ["ws://user:secret@host/", /must not carry a user or password/],
    ["ws://host:99999/", /port/],
  ])("the address %s is refused by connect()", async (endpoint, message) => {
    const client = makeClient({ endpoints: [endpoint] });
    await expect(client.connect()).rejects.toMatchObject({ code: "INVALID_CONFIG", message: expect.stringMatching(message) });
    expect(client.connectionState).toBe("failed");
    expect(client.diagnostics?.lastError?.code).toBe("INVALID_CONFIG");
  });

  it("names a refused value as TypeScript does", async () => {
    const client = makeClient({ reconnection: { initialDelay: 500, maxDelay: 5 } });
    await expect(client.connect()).rejects.toMatchObject({
      message: "reconnection.maxDelay must not be shorter than reconnection.initialDelay",
    });
  });

  it("announces the version of the package", () => {
    const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
    expect(VERSION).toBe(version);
  });
});
