import type { WireMessage } from "../wasm/wse.js";
import type { PresenceChange } from "./requests.js";

/** `WSE`: the protocol's own messages; `S`: a snapshot, the whole state of something; `U`: an update. */
export type WseCategory = "WSE" | "S" | "U";

/** Messages of the server with a known meaning. PROTOCOL.md §11.3. */
export type WseNotice =
  | "snapshot"
  | "snapshot_complete"
  | "presence_join"
  | "presence_leave"
  | "presence_update"
  | "connection_quality"
  | "server_state"
  | "config"
  | "config_update"
  | "system_status";

/** One message from the server. The payload is parsed when it is first looked at, once. */
export class WseMessage<T = unknown> {
  /** What kind of message it is, for example `chat_message`. Never empty. */
  readonly type: string;
  /** The payload as JSON text, as it came. Parse it yourself where numbers above 2^53 matter. */
  readonly payloadText: string;
  /** The message id. */
  readonly id: string | undefined;
  /** The sender's counter on this connection, from 0. Not an order of topics. */
  readonly sequence: number | undefined;
  /** When the sender wrote it, RFC 3339. */
  readonly timestamp: string | undefined;
  /** The topic it was published to; `undefined` for messages to this client alone. */
  readonly topic: string | undefined;
  /** The category, when the sender wrote one. */
  readonly category: WseCategory | undefined;
  /** 1 background, 3 low, 5 normal, 8 high, 10 critical; `undefined` when the sender wrote none. */
  readonly priority: number | undefined;
  /** The id of the message that this one answers. */
  readonly correlationId: string | undefined;
  /** The trace that the message belongs to, as in W3C Trace Context. */
  readonly traceparent: string | undefined;
  /** What the server tells unasked, where that is known. A message of category `S` is a `snapshot`. */
  readonly notice: WseNotice | undefined;
  #payload: { value: T } | undefined;

  /** @internal */
  constructor(wire: WireMessage) {
    [
      this.type,
      this.payloadText,
      this.id,
      this.sequence,
      this.timestamp,
      this.topic,
      this.category,
      this.priority,
      this.correlationId,
    ] = wire;
    this.notice = wire[9] as WseNotice | undefined;
    this.traceparent = wire[10];
  }

  /** Who came, went or tells something else in `topic`, by `type`; `undefined` for a message that is no notice of that. */
  get presence(): PresenceChange | undefined {
    return this.notice?.startsWith("presence_") ? (this.payload as PresenceChange) : undefined;
  }

  /** The payload: the same object at every look, shared by all who got this message. `{}` when there was none. */
  get payload(): T {
    this.#payload ??= { value: JSON.parse(this.payloadText) as T };
    return this.#payload.value;
  }
}

/** A message to send. */
export interface OutgoingMessage {
  /** What kind of message it is; not empty, and none of the protocol's own types. */
  type: string;
  /** Anything that `JSON.stringify` can write. Default `{}`. */
  payload?: unknown;
  /** Publish to this topic instead of sending to the server's application. */
  topic?: string;
  /** Default: a UUIDv7 is made. */
  id?: string;
  /** The id of the message that this one answers. */
  correlationId?: string;
  /** 1 to 10. Default 5, normal. */
  priority?: number;
}
