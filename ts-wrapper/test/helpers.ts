import { afterEach, inject } from "vitest";
import { WseClient, type WSEConfig } from "wse-client";

const open: WseClient[] = [];

afterEach(() => {
  for (const client of open.splice(0)) client.free();
});

/** A client of the shared server, freed after the test. */
export function makeClient(config: Partial<WSEConfig> = {}): WseClient {
  const client = new WseClient({ endpoints: [inject("url")], reconnection: { initialDelay: 20, maxDelay: 100 }, ...config });
  open.push(client);
  return client;
}

let counter = 0;

/** A topic that no other test uses. */
export function freshTopic(): string {
  counter += 1;
  return `test:${process.pid}:${Math.random().toString(36).slice(2)}:${counter}`;
}

/** Publishes over HTTP, as a backend would, and says how many subscribers it reached. */
export async function publish(
  topic: string,
  type: string,
  payload: unknown,
  http = inject("http"),
  headers: Record<string, string> = {},
): Promise<number> {
  const response = await fetch(`${http}/wse/publish`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ topic, type, payload }),
  });
  const body = (await response.json()) as { delivered: number };
  if (!response.ok) throw new Error(`publish answered ${response.status}: ${JSON.stringify(body)}`);
  return body.delivered;
}

/** Waits for something that must come true. */
export async function until(what: string, check: () => unknown, ms = 5000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
