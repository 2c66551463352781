import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { freshTopic, makeClient, publish, until } from "./helpers.js";

type Names = { [name: string]: Names | Names[] | null };

const listed = JSON.parse(readFileSync(new URL("../../tests/vectors/metrics.json", import.meta.url), "utf8")) as Record<string, object>;

/** The names of the list in camel case, with `null` in place of units. */
function camel(value: unknown): Names {
  const entries = Object.entries(value as object).map(([name, inner]): [string, Names | Names[] | null] => [
    name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    Array.isArray(inner) ? [camel(inner[0])] : typeof inner === "object" ? camel(inner) : null,
  ]);
  return Object.fromEntries(entries);
}

/** The names that figures have. */
function names(value: unknown): Names {
  const entries = Object.entries(value as object).map(([name, inner]): [string, Names | Names[] | null] => {
    if (Array.isArray(inner)) return [name, typeof inner[0] === "object" ? [names(inner[0])] : null];
    return [name, typeof inner === "object" && inner !== null ? names(inner) : null];
  });
  return Object.fromEntries(entries);
}

describe("metrics and diagnostics", () => {
  it("have the names of the list, in camel case", async () => {
    const client = makeClient();
    expect(names(client.metrics)).toEqual(camel(listed.metrics));
    const before = Object.keys(names(client.diagnostics));
    await client.connect();
    client.dropConnection();
    await until("connected again", () => client.isConnected && client.metrics.connections === 2);
    expect(names(client.metrics)).toEqual(camel(listed.metrics));
    const { online, lastError, ...engine } = client.diagnostics!;
    expect(online).toBe(true);
    expect(lastError).toBeUndefined();
    expect(names(engine)).toEqual(camel(listed.diagnostics));
    expect(before.sort()).toEqual([...Object.keys(engine), "online", "lastError"].sort());
  });

  it("follow what happens", async () => {
    const topic = freshTopic();
    const client = makeClient({ security: { encryption: true } });
    await client.connect();
    await client.subscribe([topic]);
    for (let n = 0; n < 3; n++) client.send({ type: "n", topic, payload: n });
    await until("all", () => client.metrics.messagesReceived >= 3);
    const { metrics } = client;
    expect(metrics).toMatchObject({ messagesAccepted: 3, messagesSent: 3, messagesQueued: 0, reconnectCount: 0 });
    expect(metrics.queue).toMatchObject({ capacity: 1000, waiting: 0 });
    expect(metrics.messageRate).toBeGreaterThan(0);
    expect(Object.isFrozen(metrics) && Object.isFrozen(metrics.queue.low)).toBe(true);
    expect(client.diagnostics).toMatchObject({ state: "connected", encrypted: true, fullDuplex: true, circuitBreaker: "CLOSED", topics: 1 });
    expect(client.diagnostics!.endpoints).toMatchObject([{ active: true, connections: 1 }]);
  });

  it("stay the same object as long as nothing changes", async () => {
    const topic = freshTopic();
    const client = makeClient();
    await client.connect();
    await client.subscribe([topic]);
    const before = client.store.getSnapshot();
    let got = 0;
    client.on("n", () => (got += 1));
    await publish(topic, "n", {});
    await until("it", () => got === 1);
    const after = client.store.getSnapshot();
    expect(after.metrics).not.toBe(before.metrics);
    expect(after.diagnostics).toBe(before.diagnostics);
  });

  it("are not taken when they were switched off", async () => {
    const client = makeClient({ diagnostics: { enabled: false } });
    await client.connect();
    expect(client.diagnostics).toBeNull();
    expect(client.metrics.connections).toBe(1);
  });
});
