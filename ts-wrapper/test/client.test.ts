import { describe, expect, inject, it, vi } from "vitest";
import type { WseEvent, WseMessage } from "wse-client";
import { freshTopic, makeClient, publish, until } from "./helpers.js";
import { makeToken, startServer } from "./run-server.mjs";

describe("a client of the real server", () => {
  it("loads, connects and tells its states in order", async () => {
    const client = makeClient();
    const states: string[] = [];
    client.onEvent((event) => event.type === "stateChanged" && states.push(event.to));
    expect(client.connectionState).toBe("idle");
    const server = await client.connect();
    expect(server).toMatchObject({ encrypted: false });
    expect(server.connectionId).toBeTruthy();
    expect(client.isConnected).toBe(true);
    client.close();
    expect(client.connectionState).toBe("closed");
    expect(states).toEqual(["connecting", "connected", "closed"]);
  });

  it("says at once that the host has no WebSocket, and starts when there is one", async () => {
    const client = makeClient();
    vi.stubGlobal("WebSocket", undefined);
    try {
      await expect(client.connect()).rejects.toMatchObject({ code: "INVALID_CONFIG", message: /no WebSocket/ });
    } finally {
      vi.unstubAllGlobals();
    }
    expect(client.connectionState).toBe("failed");
    await client.connect();
    expect(client.isConnected).toBe(true);
  });

  it.each(["json", "text", "msgpack"] as const)("gets what is published, as %s, compressed and not", async (encoding) => {
    const topic = freshTopic();
    const client = makeClient({ encoding });
    const got: WseMessage[] = [];
    client.on("news", (message) => got.push(message));
    await client.connect();
    await client.subscribe([topic]);
    const payloads = [{ n: 1, text: "schön 🚀" }, { long: "x".repeat(5000) }, { n: 0.1, deep: [[[]]], none: null }];
    for (const payload of payloads) expect(await publish(topic, "news", payload)).toBe(1);
    await until("three messages", () => got.length === 3);
    expect(got.map((message) => message.payload)).toEqual(payloads);
    expect(got[0]).toMatchObject({ type: "news", topic });
    expect(got[0]!.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(got[0]!.payload).toBe(got[0]!.payload);
  });

  it("publishes, and hears itself over an encrypted connection", async () => {
    const topic = freshTopic();
    const client = makeClient({ security: { encryption: true } });
    const server = await client.connect();
    expect(server.encrypted).toBe(true);
    await client.subscribe([topic]);
    const messages = client.messages();
    const id = client.send({ type: "chat", topic, payload: { text: "secret" } });
    const { value } = await messages.next();
    expect(value).toMatchObject({ type: "chat", topic, id });
    expect(value.payload).toEqual({ text: "secret" });
  });

  it("subscribes and unsubscribes", async () => {
    const [one, two] = [freshTopic(), freshTopic()];
    const client = makeClient();
    await client.connect();
    expect(await client.subscribe([one, two])).toMatchObject({ accepted: [one, two], refused: [], confirmed: true });
    expect(client.topics).toEqual([one, two]);
    expect(await publish(one, "x", {})).toBe(1);
    expect(await client.unsubscribe([one])).toMatchObject({ action: "unsubscribe", confirmed: true });
    expect(await publish(one, "x", {})).toBe(0);
    expect(await publish(two, "x", {})).toBe(1);
    await expect(client.subscribe([""])).rejects.toMatchObject({ code: "INVALID_TOPIC", retryable: false });
  });

  it("comes back after its connection is cut, subscribed, without a message twice", async () => {
    const topic = freshTopic();
    const client = makeClient();
    const events: WseEvent[] = [];
    client.onEvent((event) => events.push(event));
    await client.connect();
    await client.subscribe([topic]);
    client.dropConnection();
    await until("connected again", () => client.isConnected && client.metrics.connections === 2);
    await until("subscribed again", async () => (await publish(topic, "after", {})) === 1);
    await until("the message", () => events.some((event) => event.type === "message" && event.message.type === "after"));
    const ends = events.filter((event) => event.type === "disconnected");
    expect(ends).toHaveLength(1);
    expect(ends[0]).toMatchObject({ disconnect: { code: "CONNECTION_CLOSED", closeCode: 4000 } });
    expect(ends[0]!.type === "disconnected" && ends[0]!.disconnect.retryInMs).toBeTypeOf("number");
    const ids = events.flatMap((event) => (event.type === "message" ? [event.message.id] : []));
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("hands over together what arrived together", async () => {
    const topic = freshTopic();
    const client = makeClient();
    await client.connect();
    await client.subscribe([topic]);
    let changes = 0;
    let received = 0;
    client.store.subscribe(() => (changes += 1));
    client.on("burst", () => (received += 1));
    for (let i = 0; i < 200; i++) client.send({ type: "burst", topic, payload: { i } });
    await until("all", () => received === 200);
    expect(changes).toBeLessThan(100);
    expect(client.store.getSnapshot().lastMessage?.payload).toEqual({ i: 199 });
    expect(client.metrics).toMatchObject({ messagesSent: 200, connections: 1, messagesLost: 0 });
  });

  it("refuses what cannot be sent, and says why", async () => {
    const client = makeClient();
    expect(() => client.send({ type: "x" })).toThrowError(expect.objectContaining({ code: "NOT_CONNECTED", retryable: true }));
    await client.connect();
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    for (const [message, code] of [
      [{ type: "" }, "INVALID_REQUEST"],
      [{ type: "server_ready" }, "INVALID_REQUEST"],
      [{ type: "x", payload: cyclic }, "INVALID_REQUEST"],
      [{ type: "x", payload: 1n }, "INVALID_REQUEST"],
      [{ type: "x", payload: () => 1 }, "INVALID_REQUEST"],
      [{ type: "x", topic: "a*" }, "INVALID_TOPIC"],
      [{ type: "x", payload: noise(2 << 20) }, "MESSAGE_TOO_LARGE"],
    ] as const) {
      expect(() => client.send(message), message.type).toThrowError(expect.objectContaining({ code }));
    }
    expect(client.isConnected).toBe(true);
  });

  it("keeps what is sent before the connection is there, from the first moment on", async () => {
    const topic = freshTopic();
    const reader = makeClient();
    await reader.connect();
    await reader.subscribe([topic]);
    const got: WseMessage[] = [];
    reader.on("early", (message) => got.push(message));
    const client = makeClient({ offline: { maxSize: 2 } });
    const dropped: string[] = [];
    client.onEvent((event) => event.type === "dropped" && dropped.push(event.reason));
    const connecting = client.connect();
    const ids = [client.send({ type: "early", topic, payload: 1 }), client.send({ type: "early", topic, payload: 2, id: "own" })];
    expect(() => client.send({ type: "early", topic })).toThrowError(expect.objectContaining({ code: "QUEUE_FULL" }));
    await connecting;
    await until("both", () => got.length === 2);
    expect(got.map(({ id, payload }) => [id, payload])).toEqual([[ids[0], 1], ["own", 2]]);
    client.free();
    void client.connect();
    client.send({ type: "early", topic });
    client.close();
    expect(dropped).toEqual(["closed"]);
  });

  it("keeps as much before the engine is loaded as the engine would, and has it in the books", async () => {
    const many = makeClient();
    const connecting = many.connect();
    for (let sent = 0; sent < 1000; sent++) many.send({ type: "early" });
    const full = expect.objectContaining({ code: "QUEUE_FULL", retryable: true });
    expect(() => many.send({ type: "early", priority: 10 })).toThrowError(full);
    expect(many.metrics).toMatchObject({ messagesAccepted: 1000, messagesQueued: 1000, messagesRefused: 1 });
    expect(many.store.getSnapshot().metrics.messagesRefused).toBe(1);
    await connecting;
    await until("all are sent", () => many.metrics.messagesSent === 1000);
    expect(many.metrics).toMatchObject({ messagesAccepted: 1000, messagesQueued: 0, messagesDropped: 0, messagesRefused: 1 });
    expect(many.metrics.queue).toMatchObject({ capacity: 1000, byteCapacity: 16 << 20 });

    const large = makeClient();
    void large.connect();
    const text = "\u{e9}".repeat((4 << 20) - 1);
    const payloads = [text, text];
    for (const payload of payloads) large.send({ type: "early", payload });
    expect(large.metrics.queue.bytes).toBe(16 << 20);
    expect(() => large.send({ type: "early", payload: 1 })).toThrowError(full);
    large.close();
    expect(large.metrics).toMatchObject({ messagesAccepted: 2, messagesQueued: 0, messagesDropped: 2, messagesRefused: 1 });
    expect(large.metrics.drops.closed).toBe(2);
    expect(large.metrics.queue).toMatchObject({ waiting: 0, bytes: 0 });
    expect(large.store.getSnapshot().metrics.messagesDropped).toBe(2);
    expect(() => large.send({ type: "late" })).toThrowError(expect.objectContaining({ code: "NOT_CONNECTED" }));
    expect(large.metrics.messagesRefused).toBe(2);
  });

  it("keeps what is sent while the server is away, unless told otherwise", async () => {
    const server = await startServer();
    const [keeps, refuses] = [makeClient({ endpoints: [server.url] }), makeClient({ endpoints: [server.url], offline: { enabled: false } })];
    await Promise.all([keeps.connect(), refuses.connect()]);
    await server.stop();
    await until("noticed", () => !keeps.isConnected && !refuses.isConnected);
    keeps.send({ type: "kept" });
    expect(keeps.metrics.messagesQueued).toBe(1);
    expect(() => refuses.send({ type: "x" })).toThrowError(expect.objectContaining({ code: "NOT_CONNECTED" }));
    const again = await startServer([], server.port);
    try {
      await until("sent", () => keeps.metrics.messagesQueued === 0 && keeps.metrics.messagesSent === 1);
    } finally {
      await again.stop();
    }
  });

  it("hints make it dial at once, and unknown ones are refused", async () => {
    const server = await startServer();
    await server.stop();
    const client = makeClient({ endpoints: [server.url], reconnection: { initialDelay: 60_000, maxDelay: 60_000 } });
    void client.connect();
    await until("one failure", () => client.metrics.failedAttempts === 1);
    const again = await startServer([], server.port);
    try {
      client.networkHint("online");
      await until("connected", () => client.isConnected, 3000);
      expect(() => client.networkHint("earthquake" as "online")).toThrowError(
        expect.objectContaining({ message: expect.stringContaining("hint must be one of offline, online, address_changed, sleep, wake") }),
      );
    } finally {
      await again.stop();
    }
  });

  it("is not delayed by an outage that ended while it was closed, nor hurried by a second connect()", async () => {
    const day = 86_400_000;
    const client = makeClient({ reconnection: { initialDelay: day, maxDelay: day } });
    try {
      vi.stubGlobal("navigator", { onLine: false });
      void client.connect();
      await until("it waits for the network", () => client.diagnostics?.offline);
      client.close();
      vi.stubGlobal("navigator", { onLine: true });
      await client.connect();
    } finally {
      vi.unstubAllGlobals();
    }
    client.dropConnection();
    await until("a pause", () => client.metrics.nextAttemptInMs !== null);
    void client.connect();
    expect(client.metrics.nextAttemptInMs).toBeGreaterThan(1000);
  });

  it("prefers an endpoint, and goes to another one while that is away", async () => {
    const gone = await startServer();
    await gone.stop();
    const url = inject("url");
    const first = await makeClient({ endpoints: [gone.url, url], pool: { preferred: url } }).connect();
    expect(first.endpoint).toBe(url);
    const client = makeClient({ endpoints: [gone.url, url], pool: { preferred: gone.url } });
    expect((await client.connect()).endpoint).toBe(url);
    expect(client.diagnostics?.lastDisconnect?.code).toBe("CONNECT_FAILED");
  });

  it("renews keys when asked, and only where there are any", async () => {
    const topic = freshTopic();
    const client = makeClient({ security: { encryption: true } });
    await client.connect();
    await client.subscribe([topic]);
    const messages = client.messages();
    client.rotateKeys();
    client.send({ type: "chat", topic, payload: 1 });
    expect((await messages.next()).value.payload).toBe(1);
    const plain = makeClient();
    await plain.connect();
    expect(() => plain.rotateKeys()).toThrowError(expect.objectContaining({ code: "ENCRYPTION_REQUIRED" }));
    await expect(plain.setChannelToken("", "x")).rejects.toMatchObject({ code: "INVALID_TOPIC" });
    await plain.setChannelToken(topic, "x");
    await plain.setChannelToken(topic, null);
  });

  it("signs what it publishes, and a server that knows the key refuses forgeries", async () => {
    const key = "k".repeat(32);
    const server = await startServer(["--signing-key", key]);
    try {
      const topic = freshTopic();
      const connected = async (security: object) => {
        const client = makeClient({ endpoints: [server.url], security });
        await client.connect();
        return client;
      };
      const honest = await connected({ signing: true, signingKey: key });
      await honest.subscribe([topic]);
      const got: unknown[] = [];
      honest.on("order", (message) => got.push(message.payload));
      honest.send({ type: "order", topic, payload: 1 });
      await until("the first", () => got.length === 1);
      const forger = await connected({ signingKey: "o".repeat(32), signingTypes: ["pay"] });
      const codes: string[] = [];
      forger.onEvent((event) => event.type === "serverError" && codes.push(event.code));
      forger.send({ type: "order", topic, payload: 2 });
      forger.send({ type: "pay", payload: 2 });
      await until("both refused", () => codes.length === 2);
      expect(codes).toEqual(["SIGNATURE_INVALID", "SIGNATURE_INVALID"]);
      honest.send({ type: "order", topic, payload: 3 });
      await until("the last", () => got.length >= 2);
      expect(got).toEqual([1, 3]);
    } finally {
      await server.stop();
    }
  });

  it("survives a handler that throws, and one that calls back in", async () => {
    const topic = freshTopic();
    const client = makeClient();
    await client.connect();
    await client.subscribe([topic]);
    const errors: unknown[] = [];
    const before = console.error;
    console.error = (error: unknown) => errors.push(error);
    let second = 0;
    client.on("first", () => {
      client.send({ type: "second", topic });
      throw new Error("of the application");
    });
    client.on("second", () => {
      second += 1;
      client.close();
    });
    client.send({ type: "first", topic });
    await until("closed by the handler", () => client.connectionState === "closed");
    console.error = before;
    expect(second).toBe(1);
    expect(errors).toEqual([expect.objectContaining({ message: "of the application" })]);
  });

  it("ends iterators on close, and tells a reader that is too slow", async () => {
    const topic = freshTopic();
    const client = makeClient();
    await client.connect();
    await client.subscribe([topic]);
    const slow = client.messages({ limit: 2 });
    const stopped = new AbortController();
    const aborted = client.messages({ signal: stopped.signal });
    const all: unknown[] = [];
    const reading = (async () => {
      for await (const message of client) all.push(message.payload);
    })();
    for (let i = 0; i < 5; i++) client.send({ type: "n", topic, payload: i });
    await until("all five", () => all.length === 5);
    stopped.abort();
    expect([(await slow.next()).value.payload, (await slow.next()).value.payload]).toEqual([0, 1]);
    await expect(slow.next()).rejects.toMatchObject({ code: "SLOW_CONSUMER" });
    expect(await slow.next()).toEqual({ done: true, value: undefined });
    const read: unknown[] = [];
    for await (const message of aborted) read.push(message.payload);
    expect(read).toEqual([0, 1, 2, 3, 4]);
    client.close();
    await reading;
  });

  it("can be closed while it loads, freed, and used again", async () => {
    const client = makeClient();
    const first = client.connect();
    client.close();
    await expect(first).rejects.toMatchObject({ code: "CONNECTION_CLOSED" });
    expect(client.connectionState).toBe("closed");
    await client.connect();
    client.free();
    client.free();
    expect(client.connectionState).toBe("closed");
    await client.connect();
    expect(client.isConnected).toBe(true);
  });

  it("gives up after maxRetries, with a reason", async () => {
    const gone = await startServer();
    await gone.stop();
    const client = makeClient({ endpoints: [gone.url], reconnection: { maxRetries: 2, initialDelay: 5, maxDelay: 10 } });
    await expect(client.connect()).rejects.toMatchObject({ name: "WseError" });
    expect(client.connectionState).toBe("failed");
    expect(client.diagnostics?.lastDisconnect?.code).toMatch(/RETRIES_EXHAUSTED|CONNECT_FAILED/);
  });

  it("stops waiting when the signal says so", async () => {
    const client = makeClient({ endpoints: ["ws://127.0.0.1:9/"] });
    await expect(client.connect({ signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ name: "WseError" });
  });
});

describe("tokens", () => {
  const secret = "0123456789abcdef0123456789abcdef";

  it("asks the provider at each attempt, and again with renew after a refusal", async () => {
    const server = await startServer(["--jwt-secret", secret]);
    try {
      const good = await makeToken(secret, "alice", "--ttl", "60");
      const asked: boolean[] = [];
      const client = makeClient({
        endpoints: [server.url],
        token: async ({ renew }) => {
          asked.push(renew);
          return renew ? good : "not.a.token";
        },
      });
      expect((await client.connect()).userId).toBe("alice");
      expect(asked).toEqual([false, true]);
      client.dropConnection();
      await until("asked again", () => asked.length === 3);
    } finally {
      await server.stop();
    }
  });

  it("tells a refused string token, and takes a better one", async () => {
    const server = await startServer(["--jwt-secret", secret]);
    try {
      const client = makeClient({ endpoints: [server.url], token: "not.a.token" });
      void client.connect();
      await until("refused", () => client.diagnostics?.lastError?.code === "AUTH_FAILED");
      client.setToken(await makeToken(secret, "bob", "--ttl", "60"));
      await until("connected", () => client.isConnected);
      expect(client.server?.userId).toBe("bob");
    } finally {
      await server.stop();
    }
  });

  it("keeps trying while the provider fails", async () => {
    let calls = 0;
    const client = makeClient({
      token: () => {
        calls += 1;
        if (calls === 1) throw new Error("the session service is down");
        return calls === 2 ? (5 as unknown as string) : null;
      },
    });
    const seen: string[] = [];
    client.onEvent((event) => event.type === "disconnected" && seen.push(`${event.disconnect.code} ${event.disconnect.detail}`));
    await client.connect();
    expect(seen).toEqual([
      expect.stringMatching(/^TOKEN_PROVIDER_FAILED .*the session service is down/),
      expect.stringMatching(/^TOKEN_PROVIDER_FAILED .*number/),
    ]);
  });
});

/** Text that does not compress below the limit. */
function noise(bytes: number): string {
  return Array.from({ length: bytes / 8 }, () => Math.random().toString(36).slice(2, 10).padEnd(8, "x")).join("");
}
