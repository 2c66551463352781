/** What the host (page, worker, Node) offers beside sockets and timers. */

import type { WseMessage } from "./message.js";
import { reportUncaught } from "./errors.js";

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
 * Calls `wake` when the network is back or the page is seen again: a good moment to try at once.
 * @internal
 */
export function watchForWakeUps(wake: () => void): () => void {
  if (typeof globalThis.addEventListener !== "function") return () => {};
  const page = typeof document === "undefined" ? undefined : document;
  const seen = () => {
    if (page?.visibilityState === "visible") wake();
  };
  globalThis.addEventListener("online", wake);
  page?.addEventListener("visibilitychange", seen);
  return () => {
    globalThis.removeEventListener("online", wake);
    page?.removeEventListener("visibilitychange", seen);
  };
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
