/** What the server is asked over HTTP. The key is kept for this tab alone. */

const KEY = "wse-console-key";

export interface ConnectionRow {
  id: string;
  user_id: string;
  subscriptions: number;
  /** Messages that wait for it alone. */
  queued: number;
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
  connections: { total: number; list: ConnectionRow[] };
  topics: { total: number; list: TopicRow[] };
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
}

export const apiKey = {
  get: (): string => sessionStorage.getItem(KEY) ?? "",
  set: (key: string): void => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY)),
};

/** Whether the server wants another key than the one it was given. */
export const wantsKey = (error: unknown): boolean => error instanceof Refused && (error.status === 401 || error.status === 403);

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  const key = apiKey.get();
  const headers = { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...init.headers };
  const answer = await fetch(path, { ...init, headers });
  const body = (await answer.json().catch(() => ({}))) as { code?: string; message?: string };
  if (!answer.ok) throw new Refused(answer.status, body.code ?? `HTTP ${answer.status}`, body.message ?? answer.statusText);
  return body as T;
}

export const report = (): Promise<Report> => ask("/wse/debug");

/** A token that may read every topic for some minutes; nothing from a server that asks for none. */
export const token = async (): Promise<string | undefined> =>
  (await ask<{ token?: string }>("/console/token", { method: "POST" })).token;

export const publish = (topic: string, type: string, payload: unknown): Promise<{ id: string; delivered: number }> =>
  ask("/wse/publish", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ topic, type, payload }),
  });
