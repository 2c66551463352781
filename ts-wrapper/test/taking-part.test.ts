import { describe, expect, it } from "vitest";
import type { WseClient, WseMessage } from "wse-client";
import { freshTopic, makeClient, publish, until } from "./helpers.js";
import { startServer } from "./run-server.mjs";

/** A connected client, and what it hears of presence. */
async function connected(url?: string): Promise<{ client: WseClient; user: string; changes: string[] }> {
  const client = makeClient(url === undefined ? {} : { endpoints: [url] });
  const changes: string[] = [];
  client.on("*", (message) => {
    const change = message.presence;
    if (change) changes.push(`${message.type} ${change.user_id} ${JSON.stringify(change.data)}`);
  });
  const server = await client.connect();
  return { client, user: server.userId!, changes };
}

/** Cuts the connection, and waits until the topics are there again. */
async function cut(client: WseClient): Promise<void> {
  const back = new Promise<void>((resolve) => {
    const stop = client.onEvent((event) => {
      if (event.type === "subscribed" && event.confirmed) resolve(stop());
    });
  });
  client.dropConnection();
  await back;
}

describe("presence", () => {
  it("is seen by others when a user comes, tells something else, loses its connection and goes", async () => {
    const topic = freshTopic();
    const [ann, bob] = [await connected(), await connected()];
    expect(await ann.client.subscribe([topic], { presence: true })).toMatchObject({ present: { [topic]: 1 } });
    expect(await bob.client.subscribe([topic], { presence: { mood: "fine" } })).toMatchObject({ present: { [topic]: 2 } });
    await bob.client.subscribe([topic], { presence: ["away"] });
    await cut(bob.client);
    const again = bob.client.server!.userId!;
    await bob.client.subscribe([topic]);
    await bob.client.subscribe([topic], { presence: false });
    const expected = [
      `presence_join ${ann.user} null`,
      `presence_join ${bob.user} {"mood":"fine"}`,
      `presence_update ${bob.user} ["away"]`,
      `presence_leave ${bob.user} ["away"]`,
      `presence_join ${again} ["away"]`,
      `presence_leave ${again} ["away"]`,
    ];
    await until("all notices", () => ann.changes.length >= expected.length);
    // The server may learn of the new connection before it knows that the old one is over.
    if (ann.changes[3] === expected[4]) expected.splice(3, 2, expected[4]!, expected[3]!);
    expect(ann.changes).toEqual(expected);
    expect(await bob.client.presence(topic)).toMatchObject({ total: 1, members: [{ user_id: ann.user }], more: false });
    expect(await publish(topic, "n", {})).toBe(2);
  });

  it("is told in pages", async () => {
    const topic = freshTopic();
    const all = await Promise.all([connected(), connected(), connected()]);
    for (const [n, { client }] of all.entries()) await client.subscribe([topic], { presence: n });
    const { client } = all[0]!;
    const first = await client.presence(topic, { limit: 2 });
    expect(first).toMatchObject({ topic, total: 3, more: true });
    const second = await client.presence(topic, { after: first.members![1]!.user_id, limit: 2 });
    expect(second).toMatchObject({ total: 3, more: false });
    const users = [...first.members!, ...second.members!].map((member) => member.user_id);
    expect(users).toEqual(all.map(({ user }) => user).sort());
    await expect(client.presence("a*")).rejects.toMatchObject({ code: "INVALID_TOPIC" });
  });

  it("is not read into what has no such meaning", async () => {
    const topic = freshTopic();
    const client = makeClient();
    const got: WseMessage[] = [];
    client.on("*", (message) => got.push(message));
    await client.connect();
    await client.subscribe([topic]);
    await publish(topic, "present", { user_id: "ann" });
    await until("the message", () => got.length === 1);
    expect(got[0]!.presence).toBeUndefined();
  });
});

describe("a queue group", () => {
  it("of three shares 300 messages, each exactly once, also after its connections were cut", async () => {
    const topic = freshTopic();
    const server = await startServer();
    const members = await Promise.all([connected(server.url), connected(server.url), connected(server.url)]);
    const heard: number[][] = [];
    for (const { client } of members) {
      const own: number[] = [];
      heard.push(own);
      client.on<number>("job", (message) => own.push(message.payload));
      await client.subscribe([topic], { group: "workers" });
    }
    const count = () => heard.flat().length;
    const numbers = Array.from({ length: 300 }, (_, n) => n);
    for (const n of numbers.slice(0, 150)) expect(await publish(topic, "job", n, server.http)).toBe(1);
    await until("the first half", () => count() === 150);
    for (const { client } of members) await cut(client);
    // What is written to a connection before its end is seen is nobody's.
    const connections = async () => ((await (await fetch(`${server.http}/wse/health`)).json()) as { connections: number }).connections;
    await until("the ends are seen", async () => (await connections()) === 3);
    for (const n of numbers.slice(150)) expect(await publish(topic, "job", n, server.http)).toBe(1);
    await until("the second half", () => count() >= 300);
    expect(heard.flat().sort((a, b) => a - b)).toEqual(numbers);
    for (const own of heard) expect(own.length).toBeGreaterThan(50);
    await server.stop();
  });

  it("is left for another one, and its name is checked", async () => {
    const topic = freshTopic();
    const [one, two] = [await connected(), await connected()];
    for (const { client } of [one, two]) await client.subscribe([topic], { group: "a" });
    expect(await publish(topic, "job", {})).toBe(1);
    await two.client.subscribe([topic], { group: "b" });
    expect(await publish(topic, "job", {})).toBe(2);
    for (const group of ["", "a\n", "g".repeat(65)]) {
      await expect(one.client.subscribe([topic], { group })).rejects.toMatchObject({ code: "INVALID_SUBSCRIPTION" });
    }
    await expect(one.client.subscribe(["a*"], { presence: true })).rejects.toMatchObject({ code: "INVALID_TOPIC" });
    await expect(one.client.subscribe([topic], { presence: "x".repeat(4095) })).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    await expect(one.client.subscribe([topic], { presence: 1n })).rejects.toMatchObject({ code: "INVALID_REQUEST" });
  });
});
