import { act, cleanup, render, renderHook } from "@testing-library/react";
import { StrictMode, useState, type ReactNode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { WebSocket } from "ws";
import type { WSEConfig, WseMessage } from "wse-client";
import { useWSE, type UseWSE } from "wse-client/react";
import { freshTopic, publish, until } from "./helpers.js";

/** Every socket that is opened while a test runs. */
let sockets: WebSocket[] = [];

beforeEach(() => {
  sockets = [];
  class Counted extends WebSocket {
    constructor(url: string) {
      super(url);
      sockets.push(this);
    }
  }
  Object.assign(globalThis, { WebSocket: Counted });
});

afterEach(async () => {
  cleanup();
  await until("all sockets closed", () => sockets.every((socket) => socket.readyState === WebSocket.CLOSED));
  Object.assign(globalThis, { WebSocket });
});

const strict = { wrapper: ({ children }: { children: ReactNode }) => <StrictMode>{children}</StrictMode> };
const config = (more: Partial<WSEConfig> = {}): WSEConfig => ({
  endpoints: [inject("url")],
  reconnection: { initialDelay: 20, maxDelay: 100 },
  ...more,
});

async function settle(what: string, check: () => unknown): Promise<void> {
  await act(() => until(what, check));
}

describe("useWSE", () => {
  it("gives exactly the eight values", async () => {
    const { result } = renderHook(() => useWSE(config()), strict);
    expect(Object.keys(result.current).sort()).toEqual([
      "connectionState", "diagnostics", "isConnected", "lastMessage", "metrics", "sendMessage", "subscribe", "unsubscribe",
    ]);
    expect(result.current).toMatchObject({ isConnected: false, lastMessage: undefined });
    await settle("connected", () => result.current.isConnected);
    expect(result.current.connectionState).toBe("connected");
    expect(result.current.diagnostics).toMatchObject({ endpoint: inject("url") });
  });

  it("says how to take part in topics", async () => {
    const topic = freshTopic();
    const { result } = renderHook(() => useWSE(config()), strict);
    await settle("connected", () => result.current.isConnected);
    act(() => result.current.subscribe([topic], { presence: { mood: "fine" } }));
    await settle("seen", () => result.current.lastMessage?.presence);
    expect(result.current.lastMessage).toMatchObject({ type: "presence_join", topic, presence: { data: { mood: "fine" } } });
    act(() => result.current.subscribe([topic], { group: "" }));
    await settle("refused", () => result.current.diagnostics?.lastError?.code === "INVALID_SUBSCRIPTION");
  });

  it("opens one socket for two components under StrictMode, and closes it once after the last", async () => {
    const seen: UseWSE[] = [];
    function Part({ at }: { at: number }) {
      seen[at] = useWSE(config());
      return null;
    }
    const both = render(<StrictMode><Part at={0} /><Part at={1} /></StrictMode>);
    await settle("both connected", () => seen[0]?.isConnected && seen[1]?.isConnected);
    expect(sockets).toHaveLength(1);
    both.rerender(<StrictMode><Part at={0} /></StrictMode>);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sockets[0]!.readyState).toBe(WebSocket.OPEN);
    both.unmount();
    await until("closed", () => sockets[0]!.readyState === WebSocket.CLOSED);
    expect(sockets).toHaveLength(1);
  });

  it("keeps the socket when the configuration is inline, and changes it with the endpoint", async () => {
    const other = inject("url").replace("127.0.0.1", "localhost");
    const { result, rerender } = renderHook(({ url }) => useWSE(config({ endpoints: [url], token: () => null })), {
      ...strict,
      initialProps: { url: inject("url") },
    });
    await settle("connected", () => result.current.isConnected);
    const { subscribe, sendMessage } = result.current;
    for (let i = 0; i < 5; i++) rerender({ url: inject("url") });
    expect(sockets).toHaveLength(1);
    expect(result.current.subscribe).toBe(subscribe);
    expect(result.current.sendMessage).toBe(sendMessage);
    rerender({ url: other });
    await settle("connected to the other", () => result.current.diagnostics?.endpoint === other && result.current.isConnected);
    expect(sockets).toHaveLength(2);
    await until("the first is closed", () => sockets[0]!.readyState === WebSocket.CLOSED);
  });

  it("follows its topics, and lets go of them with the component", async () => {
    const [a, b, c] = [freshTopic(), freshTopic(), freshTopic()];
    const { result, rerender } = renderHook(({ topics }) => useWSE(config({ topics })), { ...strict, initialProps: { topics: [a, b] } });
    await settle("a and b", async () => result.current.isConnected && (await publish(a, "x", {})) === 1 && (await publish(b, "x", {})) === 1);
    rerender({ topics: [b, c] });
    await settle("b and c", async () => (await publish(a, "x", {})) === 0 && (await publish(c, "x", {})) === 1);
    expect(await publish(b, "x", {})).toBe(1);
    result.current.unsubscribe([b]);
    await settle("b given up", async () => (await publish(b, "x", {})) === 0);
    result.current.subscribe([a]);
    await settle("a again", async () => (await publish(a, "x", {})) === 1);
    expect(sockets).toHaveLength(1);
  });

  it("renders once for messages that arrive together, and shows all of them to onMessage", async () => {
    const topic = freshTopic();
    let renders = 0;
    const all: WseMessage[] = [];
    const { result } = renderHook(() => {
      renders += 1;
      return useWSE(config({ topics: [topic], onMessage: (message) => message.type === "n" && all.push(message) }));
    });
    await settle("subscribed", async () => result.current.isConnected && (await publish(topic, "probe", {})) === 1);
    const before = renders;
    await act(async () => {
      for (let i = 0; i < 100; i++) result.current.sendMessage({ type: "n", topic, payload: { i } });
      await until("all", () => all.length === 100);
    });
    expect(all.map((message) => (message.payload as { i: number }).i)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(result.current.lastMessage?.payload).toEqual({ i: 99 });
    expect(renders - before).toBeLessThan(50);
  });

  it("dispatches each message on window, but nothing that looks like an event of the page", async () => {
    const topic = freshTopic();
    const details: unknown[] = [];
    const note = (event: Event) => details.push([event.type, (event as CustomEvent).detail]);
    window.addEventListener("resource_update", note);
    window.addEventListener("resize", note);
    const { result } = renderHook(() => useWSE(config({ topics: [topic] })), strict);
    await settle("subscribed", async () => result.current.isConnected && (await publish(topic, "probe", {})) === 1);
    await publish(topic, "resize", { fake: true });
    await publish(topic, "resource_update", { id: 7 });
    await settle("the event", () => details.length > 0);
    expect(details).toEqual([["resource_update", { id: 7 }]]);
    window.removeEventListener("resource_update", note);
    window.removeEventListener("resize", note);
  });

  it("comes back after the connection is lost", async () => {
    const { result } = renderHook(() => useWSE(config()), strict);
    await settle("connected", () => result.current.isConnected);
    sockets[0]!.terminate();
    await settle("connected again", () => result.current.isConnected && result.current.metrics.connections === 2);
    expect(result.current.diagnostics?.lastDisconnect?.code).toBe("CONNECTION_CLOSED");
    expect(sockets).toHaveLength(2);
  });

  it("shows a wrong address as failed, and a wrong option as an error while rendering", async () => {
    const { result } = renderHook(() => useWSE(config({ endpoints: ["http://nowhere"] })), strict);
    await settle("failed", () => result.current.connectionState === "failed");
    expect(result.current.diagnostics?.lastError).toMatchObject({ code: "INVALID_CONFIG" });
    expect(() => result.current.sendMessage({ type: "x" })).toThrowError(expect.objectContaining({ code: "NOT_CONNECTED" }));
    const quiet = vi.spyOn(console, "error").mockImplementation(() => {});
    const wrong = { ...config(), endpoint: "ws://x" } as WSEConfig;
    expect(() => renderHook(() => useWSE(wrong))).toThrow("unknown option endpoint: did you mean endpoints?");
    quiet.mockRestore();
  });

  it("survives a component that is shown and hidden in a hurry", async () => {
    let toggle = () => {};
    const states: string[] = [];
    function Inner() {
      states.push(useWSE(config()).connectionState);
      return null;
    }
    function Outer() {
      const [shown, show] = useState(true);
      toggle = () => show((now) => !now);
      return shown ? <Inner /> : null;
    }
    render(<StrictMode><Outer /></StrictMode>);
    for (let i = 0; i < 10; i++) await act(async () => toggle());
    await settle("connected", () => states.at(-1) === "connected");
    const open = sockets.filter((socket) => socket.readyState === WebSocket.OPEN);
    expect(open).toHaveLength(1);
  });

  it("renders on a server without opening anything", () => {
    function Page() {
      const { isConnected, connectionState } = useWSE(config());
      return <p>{`${connectionState} ${isConnected}`}</p>;
    }
    expect(renderToString(<Page />)).toBe("<p>idle false</p>");
    expect(sockets).toHaveLength(0);
  });
});
