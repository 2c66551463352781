import { afterEach, describe, expect, it, vi } from "vitest";
import { readFileSync } from "node:fs";
import { VERSION, WseClient, WseError, type WSEConfig } from "wse-client";
import { makeClient } from "./helpers.js";

const URL = "ws://127.0.0.1:9/wse";
const make = (config: object) => new WseClient({ endpoints: [URL], ...config } as WSEConfig);

interface SharedTable {
  settings: { option: string; words?: string[] }[];
  own: { typescript: string[] };
}

/** Every option, as the refusal of something that is none of them names it. */
function optionNames(): string[] {
  const listed = /; options are (.*)$/.exec(refusalOf("zzzzzzzzzzzzzzzz"))?.[1] ?? "";
  return listed.split(", ");
}

/** How a value that nothing allows is refused. */
function refusalOf(option: string): string {
  const value = option.split(".").reduceRight<unknown>((inner, name) => ({ [name]: inner }), "none of these");
  try {
    make(value as object);
  } catch (error) {
    return (error as WseError).message;
  }
  return "not refused";
}

describe("options", () => {
  afterEach(() => vi.restoreAllMocks());

  it.each([
    [{ reconection: {} }, "unknown option reconection: did you mean reconnection?"],
    [{ maxRetrys: 3 }, "unknown option maxRetrys: did you mean reconnection.maxRetries?"],
    [{ reconnection: { initialdelay: 3 } }, "unknown option reconnection.initialdelay: did you mean reconnection.initialDelay?"],
    [{ security: { encrypt: true } }, "unknown option security.encrypt: did you mean security.encryption?"],
    [{ quite_something_else: 1 }, expect.stringMatching(/^unknown option quite_something_else; options are .*, offline.enabled, /)],
    [{ constructor: 1 }, expect.stringMatching(/^unknown option constructor; options are /)],
    [{ endpoints: URL }, "endpoints must be an array of strings"],
    [{ endpoints: undefined }, "endpoints must name at least one ws:// or wss:// address"],
    [{ encoding: "xml" }, "encoding must be one of json, text, msgpack"],
    [{ reconnection: { maxRetries: 1.5 } }, "reconnection.maxRetries must be a whole number from 0, or Infinity"],
    [{ reconnection: { maxDelay: Number.NaN } }, "reconnection.maxDelay must be a number"],
    [{ reconnection: 5 }, "reconnection must be an object"],
    [{ token: 5 }, "token must be a string or a function"],
    [{ security: { signingTypes: "order" } }, "security.signingTypes must be an array of strings"],
    [{ pool: { strategy: "best" } }, "pool.strategy must be one of weighted_random, least_connections, round_robin"],
  ])("%j is refused at once", (config, message) => {
    const attempt = () => make(config);
    expect(attempt).toThrow(
      expect.objectContaining({ name: "WseError", code: "INVALID_CONFIG", retryable: false, message: message as string }),
    );
  });

  it.each<[Partial<WSEConfig>, RegExp]>([
    [{ offline: { maxSize: 0 } }, /offline\.maxSize must be at least 1/],
    [{ performance: { batchSize: 0 } }, /performance\.batchSize must be at least 1/],
    [{ performance: { batchTimeout: 60_000 } }, /performance\.batchTimeout must be at most 5 s/],
    [{ security: { signing: true } }, /security\.signingKey is needed for security\.signing/],
    [{ security: { signingKey: "short" } }, /security\.signingKey must have at least 32 bytes/],
    [{ security: { rotateAfter: 5 } }, /security\.rotateAfter must be at least 1 s/],
    [{ pool: { preferred: "ws://elsewhere" } }, /pool\.preferred must be one of the endpoints/],
    [{ timeouts: { dial: 0 } }, /timeouts\.dial must be at least 1 ms/],
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
      reconnection: {
        maxRetries: Infinity,
        initialDelay: 1000,
        maxDelay: 30_000,
        backoffMultiplier: 1.5,
        backoffStrategy: "exponential",
      },
      pool: { strategy: "weighted_random", preferred: URL },
      security: {
        encryption: false,
        rotateAfter: Infinity,
        signing: false,
        signingKey: "k".repeat(32),
        signingTypes: ["order"],
        signingPublications: true,
        signingForm: "hmac",
        signingVerification: "if_present",
      },
      performance: { compression: true, batchSize: 10, batchTimeout: 100, adaptiveQuality: false },
      offline: { enabled: true, maxSize: 1000, maxAge: 3_600_000 },
      heartbeat: { interval: 15_000, timeout: 25_000 },
      timeouts: { dial: 10_000, ready: 10_000, subscribe: 5000, request: 10_000 },
      diagnostics: { enabled: true },
    });
  });

  it("has the names of the table that every language shares", async () => {
    const shared = JSON.parse(readFileSync("../tests/vectors/settings.json", "utf8")) as SharedTable;
    const names = new Set([...shared.settings.map(({ option }) => option), ...shared.own.typescript]);
    expect(optionNames().sort()).toEqual([...names].sort());
    for (const { option, words } of shared.settings) {
      if (words) expect(refusalOf(option)).toBe(`${option} must be one of ${words.join(", ")}`);
    }
  });

  it("hands every one of them to the engine, which takes it", async () => {
    const client = makeClient({
      reconnection: { maxRetries: 3, backoffStrategy: "adaptive" },
      pool: { strategy: "round_robin" },
      security: { rotateAfter: Infinity, signingKey: "k".repeat(32), signingForm: "jwt", signingVerification: "off" },
      performance: { adaptiveQuality: true, batchSize: 3 },
      offline: { maxAge: 1000 },
      heartbeat: { interval: 1000, timeout: 2000 },
      timeouts: { dial: 2000, ready: 2000, subscribe: 2000, request: 2000 },
    });
    await client.connect();
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
