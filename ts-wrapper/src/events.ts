import type { WireDisconnect, WireEvent, WireServer } from "../wasm/wse.js";
import { WseError } from "./errors.js";
import { WseMessage } from "./message.js";

/** Where a connection stands. PROTOCOL.md §8. */
export const ConnectionState = {
  /** `connect()` was not called yet. */
  Idle: "idle",
  /** The first attempt is under way. */
  Connecting: "connecting",
  /** Messages flow. */
  Connected: "connected",
  /** The connection was lost or an attempt failed; the next attempt is on the clock or under way. */
  Reconnecting: "reconnecting",
  /** Given up for a reason that time will not heal; `connect()` works again. */
  Failed: "failed",
  /** `close()` was called; `connect()` works again. */
  Closed: "closed",
} as const;
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState];

/** What the server said about itself. Absent where it said nothing. */
export interface ServerInfo {
  /** The server's name for this connection. */
  connectionId?: string;
  /** Who the server takes us for. */
  userId?: string;
  serverVersion?: string;
  /** Whether messages are encrypted. */
  encrypted: boolean;
  /** The endpoint in use. */
  endpoint: string;
}

/** The end of a connection or of an attempt. */
export interface Disconnect {
  /** Why, as a stable code. */
  code: string;
  retryable: boolean;
  /** The WebSocket close code, if there was a close. */
  closeCode?: number;
  closeReason?: string;
  /** One line for people. */
  detail: string;
  /** Pause before the next attempt in milliseconds; absent when there will be none. */
  retryInMs?: number;
}

/** How a subscription request ended. */
export interface SubscriptionResult {
  action: "subscribe" | "unsubscribe";
  /** Topics the server accepted; when it did not answer, topics that were asked for. */
  accepted: string[];
  /** Topics the server refused. They are not asked for again. */
  refused: { topic: string; reason: string }[];
  /** False when the server did not answer, or there is no connection; the topics stay wanted. */
  confirmed: boolean;
  /** How many users are seen in the topics where this one is. A topic that is missing shows nobody. PROTOCOL.md §6.7. */
  present: Record<string, number>;
}

/** Everything a client tells, by `type`. */
export type WseEvent =
  | { type: "message"; message: WseMessage }
  | { type: "stateChanged"; from: ConnectionState; to: ConnectionState }
  | { type: "connected"; server: ServerInfo }
  | { type: "disconnected"; disconnect: Disconnect }
  | ({ type: "subscribed" } & SubscriptionResult)
  | { type: "serverError"; code: string; message: string; recoverable: boolean; source: WseMessage }
  /** A frame of the server was refused; the connection goes on. */
  | { type: "rejected"; code: string; detail: string }
  /** What becomes of the missed publications of a topic: `count` of them follow. */
  | { type: "recovery"; topic: string; outcome: "recovered" | "partial" | "lost"; count: number }
  /** Messages that will never come; of a recoverable topic with their range of offsets, `to` absent when unknown. */
  | { type: "lost"; topic: string | undefined; count: number | undefined; epoch?: string | undefined; from?: number | undefined; to?: number | undefined }
  /** A message that `send` had accepted will not be sent. */
  | { type: "dropped"; id: string; priority: number; reason: string }
  /** A request ended: with the answer, or with what went wrong. `request()` tells it, too. */
  | { type: "response"; answer: WseMessage; error?: undefined }
  | { type: "response"; answer?: undefined; error: WseError }
  | { type: "latency"; ms: number };

/** @internal A wire event with the number of the request that it ends, if it ends one. */
export interface Received {
  event: WseEvent;
  request?: number;
}

/**
 * `undefined` for an event that this version does not know.
 * @internal
 */
export function fromWire(wire: WireEvent): Received | undefined {
  switch (wire[0]) {
    case "message":
      return { event: { type: "message", message: new WseMessage(wire[1]) } };
    case "stateChanged":
      return { event: { type: "stateChanged", from: wire[1], to: wire[2] } };
    case "connected":
      return { event: { type: "connected", server: wire[1] satisfies WireServer } };
    case "disconnected":
      return { event: { type: "disconnected", disconnect: wire[1] satisfies WireDisconnect } };
    case "subscribed": {
      const [, request, action, accepted, refused, confirmed, users] = wire;
      const reasons = refused.map(([topic, reason]) => ({ topic, reason }));
      const present = Object.fromEntries(users);
      return { request, event: { type: "subscribed", action, accepted, refused: reasons, confirmed, present } };
    }
    case "serverError": {
      const [, code, message, recoverable, source] = wire;
      return { event: { type: "serverError", code, message, recoverable, source: new WseMessage(source) } };
    }
    case "rejected":
      return { event: { type: "rejected", code: wire[1], detail: wire[2] } };
    case "lost":
      return { event: { type: "lost", topic: wire[1], count: wire[2], epoch: wire[3], from: wire[4], to: wire[5] } };
    case "recovery":
      return { event: { type: "recovery", topic: wire[1], outcome: wire[2], count: wire[3] } };
    case "dropped":
      return { event: { type: "dropped", id: wire[1], priority: wire[2], reason: wire[3] } };
    case "answered":
      return { request: wire[1], event: { type: "response", answer: new WseMessage(wire[2]) } };
    case "unanswered": {
      const [, request, code, message, retryable] = wire;
      return { request, event: { type: "response", error: new WseError(code, message, { retryable }) } };
    }
    case "latency":
      return { event: { type: "latency", ms: wire[1] } };
    default:
      return undefined;
  }
}
