import { WseError } from "./errors.js";
import type { WseMessage } from "./message.js";

/**
 * Gives a token for one connection attempt, or nothing to connect without one. `renew` is true when the server
 * refused the last token, so that a cached one will not do. A rejection counts as a failed attempt
 * (`TOKEN_PROVIDER_FAILED`) and is tried again.
 */
export type TokenProvider = (request: { renew: boolean }) => string | null | undefined | Promise<string | null | undefined>;

/** How messages are written: JSON in binary frames, JSON in text frames, or msgpack. */
export type WseEncoding = "json" | "text" | "msgpack";

/** Everything a client can be told. Unknown names are refused with the nearest valid one. */
export interface WSEConfig {
  /** `ws://` or `wss://` addresses of equal servers, at least one; the next is tried after each failure. */
  endpoints: string[];
  /** Topics (exact names, or patterns with `*` and `?`) to subscribe to at every connection. Default none. */
  topics?: string[];
  /**
   * A token, or a function that is asked at each attempt. Default none. Browsers cannot set headers on a WebSocket,
   * so it travels in the query (`?token=`): prefer short-lived tokens from a function.
   */
  token?: string | TokenProvider;
  /** Default `"json"`. */
  encoding?: WseEncoding;
  /** Whether each message is also dispatched on `window` as `CustomEvent(type, { detail: payload })`. Default true. */
  domEvents?: boolean;
  /** When to come back after a connection is lost. Pauses have full jitter. */
  reconnection?: {
    /** Consecutive failures after which the client gives up (state `failed`, `RETRIES_EXHAUSTED`). Default `Infinity`. */
    maxRetries?: number;
    /** First pause in milliseconds; later ones grow from it. Default 1000. */
    initialDelay?: number;
    /** Longest pause in milliseconds. Default 30000. */
    maxDelay?: number;
    /** Growth of the pause, 1 to 10. Default 1.5. */
    backoffMultiplier?: number;
    /** How the pause grows. Default `"exponential"`. */
    backoffStrategy?: "exponential" | "linear" | "fibonacci" | "adaptive";
  };
  /** Which of several endpoints is next. */
  pool?: {
    /** How one of the healthy endpoints is chosen. Default `"weighted_random"`: by their health. */
    strategy?: "weighted_random" | "least_connections" | "round_robin";
    /** The one of `endpoints` to prefer while it is healthy. Default none. */
    preferred?: string;
  };
  security?: {
    /** Agree on a key and encrypt every message; a server that cannot is refused. Default false. */
    encryption?: boolean;
    /** Age in milliseconds at which the key of a connection is renewed. Default 3600000; `Infinity`: when it is used up. */
    rotateAfter?: number;
    /**
     * Sign what is published, and messages of `signingTypes`. Needs `signingKey`; default true with one, else false. A
     * server without the key does not look at signatures.
     */
    signing?: boolean;
    /** The key that the server knows, at least 32 bytes. Who can read the page can read it: sign for users, not for pages. */
    signingKey?: string;
    /** Types that are signed beside publications. Default `["priority_message"]`. */
    signingTypes?: string[];
    /** Whether what is published is signed. Default true. */
    signingPublications?: boolean;
    /** How signatures are written. Default `"hmac"`. */
    signingForm?: "hmac" | "jwt";
    /** What is done about signatures that arrive; `"required"` refuses messages of `signingTypes` without. Default `"if_present"`. */
    signingVerification?: "off" | "if_present" | "required";
  };
  performance?: {
    /** Compress large messages, and accept compressed ones. Default true. */
    compression?: boolean;
    /** Small messages share a frame where the server reads it; most messages in one. Default: each goes at once. */
    batchSize?: number;
    /** Longest wait for a batch in milliseconds; naming it asks for batches too. Default 100. */
    batchTimeout?: number;
    /**
     * Ping less often on a fair or poor network and join small messages, which then wait up to 200 ms on a fair one and
     * 500 ms on a poor one; on a poor one compress harder, too. Default false.
     */
    adaptiveQuality?: boolean;
  };
  /** Keeping messages in memory while the client connects or reconnects. */
  offline?: {
    /** Default true. With false `send` throws `NOT_CONNECTED` meanwhile. */
    enabled?: boolean;
    /** Most messages that are kept; the oldest of the lowest priority makes room. Default 1000. */
    maxSize?: number;
    /** How long a message is kept at most, in milliseconds. Default 3600000. */
    maxAge?: number;
  };
  /** Detection of a server that went silent. */
  heartbeat?: {
    /** Time between pings in milliseconds. Default 15000. */
    interval?: number;
    /** Silence after a ping, in milliseconds, that ends the connection. Default 25000. */
    timeout?: number;
  };
  /** Bounds on waiting, in milliseconds. */
  timeouts?: {
    /** One attempt's WebSocket handshake; also one call of the token function. Default 10000. */
    dial?: number;
    /** From the open socket to a server that is ready. Default 10000. */
    ready?: number;
    /** Answer to a subscription request. Default 5000. */
    subscribe?: number;
    /** Answer to a typed request. Default 10000. */
    request?: number;
  };
  diagnostics?: {
    /** Whether `diagnostics` is filled; otherwise it is `null`. Default true. */
    enabled?: boolean;
  };
  /** `useWSE` only: called with every message, while `lastMessage` holds the last of each batch. May be inline. */
  onMessage?: (message: WseMessage) => void;
}

type Kind = "boolean" | "number" | "string" | "strings" | "token" | "function" | readonly string[];
type Schema = { readonly [name: string]: Kind | Schema };

const SCHEMA = {
  endpoints: "strings",
  topics: "strings",
  token: "token",
  encoding: ["json", "text", "msgpack"],
  domEvents: "boolean",
  reconnection: {
    maxRetries: "number",
    initialDelay: "number",
    maxDelay: "number",
    backoffMultiplier: "number",
    backoffStrategy: ["exponential", "linear", "fibonacci", "adaptive"],
  },
  pool: { strategy: ["weighted_random", "least_connections", "round_robin"], preferred: "string" },
  security: {
    encryption: "boolean",
    rotateAfter: "number",
    signing: "boolean",
    signingKey: "string",
    signingTypes: "strings",
    signingPublications: "boolean",
    signingForm: ["hmac", "jwt"],
    signingVerification: ["off", "if_present", "required"],
  },
  performance: { compression: "boolean", batchSize: "number", batchTimeout: "number", adaptiveQuality: "boolean" },
  offline: { enabled: "boolean", maxSize: "number", maxAge: "number" },
  heartbeat: { interval: "number", timeout: "number" },
  timeouts: { dial: "number", ready: "number", subscribe: "number", request: "number" },
  diagnostics: { enabled: "boolean" },
  onMessage: "function",
} as const satisfies Schema;

/**
 * Checks names and types. Whether a value can be used (an address, a delay) is decided by the engine when it is
 * loaded, and then `connect()` rejects.
 * @internal
 */
export function checkConfig(config: WSEConfig): void {
  checkSection(config, SCHEMA, "");
  if (config.endpoints === undefined) throw invalid("endpoints must name at least one ws:// or wss:// address");
}

/** @internal A path like `reconnection.maxRetries`, and what stands there. */
export type Option = [path: string, value: unknown];

/** What this side of the package uses itself. */
const OWN = new Set(["topics", "domEvents", "diagnostics.enabled", "onMessage"]);

/** @internal What the engine is constructed with. */
export function engineOptions(config: WSEConfig, topics: Iterable<string>): Option[] {
  const given = optionsIn(config).filter(([path, value]) => !OWN.has(path) && typeof value !== "function");
  return [...given, ["topics", [...new Set(topics)]]];
}

function optionsIn(section: object, path = ""): Option[] {
  return Object.entries(section).flatMap(([name, value]): Option[] => {
    if (value === undefined) return [];
    const isSection = typeof value === "object" && value !== null && !Array.isArray(value);
    return isSection ? optionsIn(value as object, `${path}${name}.`) : [[path + name, value]];
  });
}

/** Options that say no more than leaving them out. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  encoding: "json",
  domEvents: true,
  "reconnection.maxRetries": Infinity,
  "security.encryption": false,
  "performance.compression": true,
  "offline.enabled": true,
  "diagnostics.enabled": true,
};

/**
 * Equal keys may share one socket. Functions count as equal (the last one given is used), topics do not count.
 * @internal
 */
export function sharingKey(config: WSEConfig): string {
  const counts = ([path, value]: Option) => path !== "topics" && path !== "onMessage" && DEFAULTS[path] !== value;
  const options = optionsIn(config).filter(counts);
  options.sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(options, (_, value: unknown) => (typeof value === "function" ? null : value));
}

function invalid(message: string): WseError {
  return new WseError("INVALID_CONFIG", message);
}

function checkSection(value: unknown, schema: Schema, path: string): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(`${path === "" ? "the configuration" : path.slice(0, -1)} must be an object`);
  }
  for (const [name, given] of Object.entries(value)) {
    const kind = Object.hasOwn(schema, name) ? schema[name] : undefined;
    if (kind === undefined) throw invalid(`unknown option ${path}${name}${suggestion(`${path}${name}`)}`);
    if (given === undefined) continue;
    if (isSection(kind)) checkSection(given, kind, `${path}${name}.`);
    else checkValue(given, kind, `${path}${name}`);
  }
}

function checkValue(value: unknown, kind: Kind, path: string): void {
  const wanted = {
    boolean: "true or false",
    number: "a number",
    string: "a string",
    strings: "an array of strings",
    token: "a string or a function",
    function: "a function",
  };
  if (typeof kind !== "string") {
    if (!kind.includes(value as string)) throw invalid(`${path} must be one of ${kind.join(", ")}`);
    return;
  }
  const right =
    kind === "strings"
      ? Array.isArray(value) && value.every((item) => typeof item === "string")
      : kind === "token"
        ? typeof value === "string" || typeof value === "function"
        : typeof value === kind && !Number.isNaN(value);
  if (!right) throw invalid(`${path} must be ${wanted[kind]}`);
  if (path === "reconnection.maxRetries" && value !== Infinity && !(Number.isInteger(value) && (value as number) >= 0)) {
    throw invalid("reconnection.maxRetries must be a whole number from 0, or Infinity");
  }
}

/** The nearest option; all of them when none is near. */
function suggestion(path: string): string {
  const sections = Object.entries(SCHEMA).filter(([, kind]) => isSection(kind)).map(([name]) => name);
  const names = optionNames();
  const last = (name: string) => name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  const distanceTo = (name: string) => Math.min(distance(path.toLowerCase(), name.toLowerCase()), distance(last(path), last(name)));
  const nearest = [...sections, ...names].reduce((best, name) => (distanceTo(name) < distanceTo(best) ? name : best));
  const near = distanceTo(nearest) <= Math.max(2, last(nearest).length / 3);
  return near ? `: did you mean ${nearest}?` : `; options are ${names.join(", ")}`;
}

function optionNames(): string[] {
  return Object.entries(SCHEMA).flatMap(([name, kind]) =>
    isSection(kind) ? Object.keys(kind).map((inner) => `${name}.${inner}`) : [name],
  );
}

function isSection(kind: Kind | Schema): kind is Schema {
  return typeof kind === "object" && !Array.isArray(kind);
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
