/** What the server is asked over HTTP. The key is kept for this tab alone, and travels in a header. */

const KEY = "wse-console-key";

/** How long an answer may take, in milliseconds. */
const PATIENCE = 8000;

export interface ConnectionRow {
  id: string;
  user_id: string;
  subscriptions: number;
  /** Messages that wait for it alone. */
  queued: number;
  queued_bytes: number;
  /** How full its queue is, 0 to 1. */
  queue_share: number;
}

export interface TopicRow {
  topic: string;
  subscribers: number;
  published: number;
  held: number;
  held_bytes: number;
  /** How many publications the slowest reader is behind. */
  lag: number;
}

/** `GET /wse/debug`. */
export interface Report {
  version: string;
  uptime_seconds: number;
  ready: boolean;
  connections: { total: number; queued: number; users: { user_id: string; connections: number }[]; list: ConnectionRow[] };
  subscriptions: { total: number; patterns: Record<string, number> };
  topics: { total: number; list: TopicRow[] };
  /** Bytes. */
  memory: { budget: number; held: number; topics: number; queues: number };
  counters: Record<string, number>;
}

/** A refusal of the server, in its own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }

  /** Whether the server wants another key than the one it was given. */
  get isAboutKey(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

export const apiKey = {
  get: (): string => sessionStorage.getItem(KEY) ?? "",
  set: (key: string): void => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY)),
};

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  const key = apiKey.get();
  const headers = { ...(key ? { "X-API-Key": key } : {}), ...init.headers };
  const answer = await fetch(path, { ...init, headers, signal: AbortSignal.timeout(PATIENCE) }).catch((error: unknown) => {
    throw new Error(error instanceof DOMException ? `no answer in ${PATIENCE / 1000} s` : "the server cannot be reached");
  });
  const body = (await answer.json().catch(() => ({}))) as { error?: { code?: string; message?: string } };
  if (answer.ok) return body as T;
  const { code = `HTTP ${answer.status}`, message = answer.statusText } = body.error ?? {};
  throw new Refused(answer.status, code, message);
}

/** Topics that begin with `prefix`; the busiest rows of each list. */
export const report = (prefix: string): Promise<Report> =>
  ask(`/wse/debug?limit=200${prefix ? `&prefix=${encodeURIComponent(prefix)}` : ""}`);

/** A token that may read every topic for some minutes; nothing from a server that asks for none. */
export const token = async (): Promise<string | undefined> =>
  (await ask<{ token: string | null }>("/console/token", { method: "POST" })).token ?? undefined;

export interface Published {
  id: string;
  delivered: number;
}

/** `payload` is JSON already: numbers stay as they were written. */
export const publish = (topic: string, type: string, payload: string): Promise<Published> =>
  ask("/wse/publish", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: `{"topic":${JSON.stringify(topic)},"type":${JSON.stringify(type)},"payload":${payload}}`,
  });
