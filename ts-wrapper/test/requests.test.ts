import { describe, expect, it } from "vitest";
import { WseClient, type WseEvent } from "wse-client";
import { freshTopic, makeClient, publish, until } from "./helpers.js";
import { startServer } from "./run-server.mjs";

describe("requests", () => {
  it("are answered by the server, each with its own answer", async () => {
    const client = makeClient();
    const server = await client.connect();
    const [health, config, connection] = await Promise.all([
      client.request("health_check_request"),
      client.request("config_request"),
      client.request("connection_state_request"),
    ]);
    expect(health).toMatchObject({ status: "healthy", connection_id: server.connectionId });
    expect(config.max_message_size).toBeGreaterThan(0);
    expect(connection).toMatchObject({ state: "connected", encrypted: false, rejected: 0 });
    expect((await client.request("debug_handlers")).handlers).toContain("batch_message");
    expect(client.metrics).toMatchObject({ requestsPending: 0, requestsFailed: 0 });
  });

  it("of several messages tell what became of each", async () => {
    const topic = freshTopic();
    const client = makeClient({ security: { encryption: true } });
    await client.connect();
    await client.subscribe([topic]);
    const got: unknown[] = [];
    client.on("n", (message) => got.push(message.payload));
    const messages = [{ t: "n", p: 1, tp: topic, id: "mine" }, { t: "ping" }, { t: "n", p: 2, tp: topic }];
    const report = await client.request("batch_message", { messages });
    expect(report).toMatchObject({ total: 3, successful: 2, failed: 1 });
    expect(report.results).toEqual([{ id: "mine", success: true }, { success: false, error: "INVALID_REQUEST" }, { success: true }]);
    await until("both", () => got.length === 2);
    expect(got).toEqual([1, 2]);
  });

  it("fail with the code of the server, or of what happened", async () => {
    const server = await startServer();
    const client = makeClient({ endpoints: [server.url] });
    await expect(client.request("health_check")).rejects.toMatchObject({ code: "NOT_CONNECTED", retryable: true });
    await client.connect();
    const events: WseEvent[] = [];
    client.onEvent((event) => event.type === "response" && events.push(event));
    await expect(client.request("batch_message", {})).rejects.toMatchObject({ code: "INVALID_ENVELOPE" });
    await expect(client.request("server_hello")).rejects.toMatchObject({ code: "INVALID_REQUEST", retryable: false });
    await expect(client.request("x", 1n)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    const lost = client.request("unanswered_question");
    await until("asked", () => client.metrics.requestsPending === 1);
    client.dropConnection();
    await expect(lost).rejects.toMatchObject({ code: "CONNECTION_CLOSED", retryable: true });
    expect(client.metrics.requestsFailed).toBe(2);
    expect(events.map((event) => event.type === "response" && event.error?.code)).toEqual(["INVALID_ENVELOPE", "CONNECTION_CLOSED"]);
    await server.stop();
  });

  it("end when the client is closed or freed", async () => {
    const client = makeClient();
    await client.connect();
    const asked = client.request("unanswered_question");
    client.close();
    await expect(asked).rejects.toMatchObject({ code: "CONNECTION_CLOSED" });
    expect(client).toBeInstanceOf(WseClient);
  });

  it("are not needed for what the server tells unasked", async () => {
    const topic = freshTopic();
    const client = makeClient();
    const notices: (string | undefined)[] = [];
    client.on("*", (message) => notices.push(message.notice));
    await client.connect();
    await client.subscribe([topic]);
    for (const type of ["portfolio_snapshot", "config_update", "n"]) await publish(topic, type, {});
    await until("three", () => notices.length === 3);
    expect(notices).toEqual(["snapshot", "config_update", undefined]);
  });
});

describe("messages", () => {
  it("say to which trace they belong", async () => {
    const topic = freshTopic();
    const client = makeClient();
    const traces: (string | undefined)[] = [];
    client.on("n", (message) => traces.push(message.traceparent));
    await client.connect();
    await client.subscribe([topic]);
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    await publish(topic, "n", {}, undefined, { traceparent });
    await publish(topic, "n", {});
    await until("both", () => traces.length === 2);
    expect(traces).toEqual([traceparent, undefined]);
  });
});
