import { WseError } from "./errors.js";
import type { WseMessage } from "./message.js";
import { VERSION } from "./version.js";

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
    /** Consecutive failures after which the client gives up (state `failed`). Default `Infinity`. */
    maxRetries?: number;
    /** First pause in milliseconds; later ones grow from it. Default 1000. */
    initialDelay?: number;
    /** Longest pause in milliseconds. Default 30000. */
    maxDelay?: number;
    /** Growth of the pause, 1 to 10. Default 1.5. */
    backoffMultiplier?: number;
  };
  security?: {
    /** Agree on a key and encrypt every message; a server that cannot is refused. Default false. */
    encryption?: boolean;
    /** Signing of messages. Not in this version: `true` is refused. Default false. */
    signing?: boolean;
  };
  performance?: {
    /** Compress large messages, and accept compressed ones. Default true. */
    compression?: boolean;
    /** Small messages share a frame where the server reads it; most messages in one. Default: each goes at once. */
    batchSize?: number;
    /** Longest wait for a batch in milliseconds; naming it asks for batches too. Default 100. */
    batchTimeout?: number;
  };
  /** Keeping messages in memory while the client connects or reconnects, for an hour at most. */
  offline?: {
    /** Default true. With false, `send` throws `NOT_CONNECTED` meanwhile. */
    enabled?: boolean;
    /** Most messages that are kept. Default 1000. */
    maxSize?: number;
  };
  diagnostics?: {
    /** Whether `diagnostics` is filled; otherwise it is `null`. Default true. */
    enabled?: boolean;
  };
  /** `useWSE` only: called with every message, while `lastMessage` holds the last of each batch. May be inline. */
  onMessage?: (message: WseMessage) => void;
}

/** @internal What the engine is constructed with. */
export interface EngineSettings {
  endpoints: string[];
  topics: string[];
  token?: string;
  tokenProvider: boolean;
  clientVersion: string;
  encoding: WseEncoding;
  reconnection: NonNullable<WSEConfig["reconnection"]>;
  security: { encryption?: boolean };
  performance: { compression?: boolean; batchSize?: number; batchTimeout?: number };
  offline: NonNullable<WSEConfig["offline"]>;
}

type Kind = "boolean" | "number" | "strings" | "token" | "function" | readonly string[];
type Schema = { readonly [name: string]: Kind | Schema };

const SCHEMA = {
  endpoints: "strings",
  topics: "strings",
  token: "token",
  encoding: ["json", "text", "msgpack"],
  domEvents: "boolean",
  reconnection: { maxRetries: "number", initialDelay: "number", maxDelay: "number", backoffMultiplier: "number" },
  security: { encryption: "boolean", signing: "boolean" },
  performance: { compression: "boolean", batchSize: "number", batchTimeout: "number" },
  offline: { enabled: "boolean", maxSize: "number" },
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
  if (config.security?.signing) throw invalid("security.signing is not in this version: leave it out or set it to false");
}

/** @internal */
export function engineSettings(config: WSEConfig, topics: Iterable<string>): EngineSettings {
  const { encryption } = config.security ?? {};
  return {
    endpoints: config.endpoints,
    topics: [...new Set(topics)],
    ...(typeof config.token === "string" ? { token: config.token } : {}),
    tokenProvider: typeof config.token === "function",
    clientVersion: VERSION,
    encoding: config.encoding ?? "json",
    reconnection: config.reconnection ?? {},
    security: encryption === undefined ? {} : { encryption },
    performance: config.performance ?? {},
    offline: config.offline ?? {},
  };
}

/**
 * Equal keys may share one socket. Functions count as equal (the last one given is used), topics do not count.
 * @internal
 */
export function sharingKey(config: WSEConfig): string {
  const { maxRetries, initialDelay, maxDelay, backoffMultiplier } = config.reconnection ?? {};
  return JSON.stringify([
    config.endpoints,
    typeof config.token === "function" ? ["provider"] : (config.token ?? null),
    config.encoding ?? "json",
    config.domEvents ?? true,
    [maxRetries === Infinity ? null : (maxRetries ?? null), initialDelay ?? null, maxDelay ?? null, backoffMultiplier ?? null],
    config.security?.encryption ?? false,
    config.performance?.compression ?? true,
    config.diagnostics?.enabled ?? true,
  ]);
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
    if (typeof kind === "object" && !Array.isArray(kind)) checkSection(given, kind as Schema, `${path}${name}.`);
    else checkValue(given, kind as Kind, `${path}${name}`);
  }
}

function checkValue(value: unknown, kind: Kind, path: string): void {
  const wanted = {
    boolean: "true or false",
    number: "a number",
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

function suggestion(path: string): string {
  const names = Object.entries(SCHEMA).flatMap(([name, kind]) =>
    typeof kind === "object" && !Array.isArray(kind) ? [name, ...Object.keys(kind).map((inner) => `${name}.${inner}`)] : [name],
  );
  const last = (name: string) => name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  const distanceTo = (name: string) => Math.min(distance(path.toLowerCase(), name.toLowerCase()), distance(last(path), last(name)));
  const nearest = names.reduce((best, name) => (distanceTo(name) < distanceTo(best) ? name : best));
  return distanceTo(nearest) <= Math.max(2, last(nearest).length / 3) ? `: did you mean ${nearest}?` : "";
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
