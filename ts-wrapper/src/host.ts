/** What the host (page, worker, Node) offers beside sockets and timers. */

import type { WseMessage } from "./message.js";
import { WseError, reportUncaught } from "./errors.js";

/**
 * Runs `task` in a task of its own, soon. What arrives until then is handed over together. Unlike `setTimeout` it is
 * not slowed down in hidden tabs.
 * @internal
 */
export function defer(task: () => void): void {
  const { setImmediate } = globalThis as { setImmediate?: (task: () => void) => unknown };
  if (setImmediate) {
    setImmediate(task);
    return;
  }
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    task();
  };
  port2.postMessage(0);
}

/**
 * Sees to it that there are sockets: without them every attempt would fail, in silence and for ever.
 * @throws {WseError} `INVALID_CONFIG`.
 * @internal
 */
export function checkHost(): void {
  if (typeof globalThis.WebSocket === "function") return;
  const message = "this host has no WebSocket: use Node 22, or assign one of the package `ws` to globalThis.WebSocket";
  throw new WseError("INVALID_CONFIG", message);
}

/** What a host can know before its sockets do. */
export type NetworkHint = "offline" | "online" | "address_changed" | "sleep" | "wake";

interface NetworkInformation extends EventTarget {
  /** `wifi`, `cellular` …; `undefined` where the host does not say. */
  readonly type?: string;
}

/**
 * Passes on what the host says about the network and the page. What follows from it is decided by the engine.
 * The answer ends it. Nothing happens where the host has no such events.
 * @internal
 */
export function watchHost(hint: (hint: NetworkHint) => void): () => void {
  const stop = new AbortController();
  const listen = (target: EventTarget | undefined, type: string, tell: (event: Event) => void) =>
    target?.addEventListener?.(type, tell, { signal: stop.signal });
  const host = globalThis as unknown as Partial<EventTarget> as EventTarget;
  const page = typeof document === "undefined" ? undefined : document;
  listen(host, "online", () => hint("online"));
  listen(host, "offline", () => hint("offline"));
  // Into and out of the back/forward cache; an ordinary load is no waking.
  listen(host, "pagehide", (event) => (event as PageTransitionEvent).persisted && hint("sleep"));
  listen(host, "pageshow", (event) => (event as PageTransitionEvent).persisted && hint("wake"));
  listen(page, "freeze", () => hint("sleep"));
  listen(page, "resume", () => hint("wake"));
  // A hidden page goes on running, only its timers are late: that it is hidden is no news, that it is seen is.
  listen(page, "visibilitychange", () => page?.visibilityState === "visible" && hint("wake"));
  watchConnection(listen, hint);
  return () => stop.abort();
}

/** `change` also tells of mere estimates, every few seconds: only another kind of network is another address. */
function watchConnection(
  listen: (target: EventTarget | undefined, type: string, tell: () => void) => void,
  hint: (hint: NetworkHint) => void,
): void {
  const { connection } = (globalThis.navigator ?? {}) as { connection?: NetworkInformation };
  let kind = connection?.type;
  listen(connection, "change", () => {
    const before = kind;
    kind = connection?.type;
    if (kind !== before && kind !== "none") hint("address_changed");
  });
}

/** @internal Whether the host thinks there is a network; true where it does not say. */
export function isOnline(): boolean {
  return typeof navigator === "undefined" || navigator.onLine !== false;
}

/**
 * Dispatches `CustomEvent(type, { detail: payload })` on `window`. The payload is parsed only if a listener looks.
 * Types that are events of the page itself (`error`, `load`, `click` …) are left out: a message must not look like one.
 * @internal
 */
export function dispatchOnWindow(message: WseMessage): void {
  if (typeof window === "undefined" || typeof CustomEvent !== "function" || `on${message.type}` in window) return;
  const event = new CustomEvent(message.type);
  Object.defineProperty(event, "detail", { get: () => message.payload });
  try {
    window.dispatchEvent(event);
  } catch (error) {
    reportUncaught(error);
  }
}
