import { ConnectionState } from "./events.js";

// What a client tells of itself, by the names of every language, in camel case. Times are milliseconds, rates per second.

/** How well the network does; `unknown` without samples. */
export type NetworkQuality = "unknown" | "poor" | "fair" | "good" | "excellent";

/** Accepted messages that were dropped, by reason. */
export interface DropMetrics {
  /** The queue was full, and a message at least as urgent came. */
  queueFull: number;
  /** They waited longer than `offline.maxAge`. */
  expired: number;
  /** Written in the way that the server reads, they are larger than a frame may be. */
  tooLarge: number;
  /** The connection ended while they waited for their turn, and `offline.enabled` is off. */
  disconnected: number;
  /** The application closed the connection. */
  closed: number;
}

/** What became of the messages of one priority that had to wait. */
export interface LevelMetrics {
  /** Wait at present. */
  waiting: number;
  /** Taken in. */
  queued: number;
  /** Taken out to be sent. */
  sent: number;
  /** Dropped after they were taken in. */
  dropped: number;
  /** Not taken in. */
  refused: number;
}

/** The queue of messages that could not be sent at once, and what became of them by priority. */
export interface QueueMetrics {
  /** Messages that wait at present. */
  waiting: number;
  /** Most messages that may wait. */
  capacity: number;
  /** Bytes that the waiting messages count for. */
  bytes: number;
  /** Most bytes that may wait. */
  byteCapacity: number;
  /** How long the oldest of them has waited. `null` when there is none. */
  oldestMs: number | null;
  /** Priority 1. */
  background: LevelMetrics;
  /** Priority 3. */
  low: LevelMetrics;
  /** Priority 5. */
  normal: LevelMetrics;
  /** Priority 8. */
  high: LevelMetrics;
  /** Priority 10. */
  critical: LevelMetrics;
}

/** What the sequence numbers of one connection tell. */
export interface SequenceMetrics {
  /** Messages with a number. */
  numbered: number;
  /** Numbers that were jumped over. */
  missing: number;
  /** Messages whose number was behind the one expected. */
  late: number;
  /** Messages held at present until what is before them comes. */
  held: number;
  /** The number expected next. `null` before the first. */
  expected: number | null;
}

/**
 * How much: counters since the client was made, and present figures. At any moment `messagesAccepted = messagesSent +
 * messagesDropped + messagesQueued`, and `messagesDropped` is the sum of `drops`.
 */
export interface WseMetrics {
  /** Application messages handed to the application, answers to requests included. */
  messagesReceived: number;
  /** Application messages that `send()` took, or that were left by an earlier run. */
  messagesAccepted: number;
  /** Application messages written to a connection. */
  messagesSent: number;
  /** Application messages that wait for a connection, or for their turn. */
  messagesQueued: number;
  /** Application messages that were accepted and will not be sent; `drops` says why. */
  messagesDropped: number;
  /** Application messages that `send()` refused with an error, whatever the error. */
  messagesRefused: number;
  /** Messages of the server that will never come, as far as they were counted. */
  messagesLost: number;
  /** Messages that came again and were dropped. */
  messagesDuplicate: number;
  /** Publications that came ahead of a gap and were dropped, to come again with what is missing. */
  messagesDeferred: number;
  /** Missed publications that the server sent after all. */
  messagesRecovered: number;
  /** Times that a topic was found to have a gap, and the server was asked for what is missing. */
  gaps: number;
  /** Why accepted messages were dropped. */
  drops: DropMetrics;
  /** The messages that wait. */
  queue: QueueMetrics;
  /** What the sequence numbers of the present connection tell. */
  sequence: SequenceMetrics;
  /** Frames received on the present socket of their time. */
  framesReceived: number;
  /** Frames written. */
  framesSent: number;
  /** Frames, or messages in a batch, that were refused. */
  framesRejected: number;
  /** Frames of a socket that was given up before they arrived; nobody looked at them. */
  framesStale: number;
  /** Bytes of all frames received. */
  bytesReceived: number;
  /** Bytes of all frames sent. */
  bytesSent: number;
  /** Application messages received a second, over the last 10 s. */
  messageRate: number;
  /** Bytes a second in both directions, over the last 10 s. */
  bandwidth: number;
  /** Messages of type `heartbeat`: a sign of life, and nothing else. */
  heartbeatsReceived: number;
  /** Requests of `request()` that wait for their answer. */
  requestsPending: number;
  /** Requests that ended without an answer. */
  requestsFailed: number;
  /** Sockets that were asked for. */
  connectionAttempts: number;
  /** Times a connection became ready. */
  connections: number;
  /** Times a connection became ready after the first. */
  reconnectCount: number;
  /** Consecutive failed attempts. */
  failedAttempts: number;
  /** Ends of a connection or attempt for want of a good token, or of the right to be here. */
  authFailures: number;
  /** Times the keys of a connection were renewed. */
  keysRotated: number;
  /** The last round trip. `null` before the first, as are the next three without samples. */
  lastLatencyMs: number | null;
  /** Mean round trip of the last pings. */
  avgLatencyMs: number | null;
  /** Shortest of them. */
  minLatencyMs: number | null;
  /** Longest of them. */
  maxLatencyMs: number | null;
  /** Age of the client. */
  uptimeMs: number;
  /** How long the present connection has been ready. `null` while there is none, as is the next one. */
  connectedForMs: number | null;
  /** When it became ready, by the wall clock. */
  connectedSinceMs: number | null;
  /** Time since the last frame of the present socket. `null` before the first. */
  silentForMs: number | null;
  /** Time until the next attempt. `null` unless one is on the clock. */
  nextAttemptInMs: number | null;
}

/** How one endpoint does. */
export interface EndpointMetrics {
  /** Its address. */
  url: string;
  /** Health, from 10 (worst) to 100. */
  score: number;
  /** Its circuit breaker. */
  circuitBreaker: "CLOSED" | "OPEN" | "HALF_OPEN";
  /** Connections that this client made to it. */
  connections: number;
  /** Whether it is in use, or was tried last. */
  active: boolean;
}

/** The end of a connection or attempt. */
export interface DisconnectMetrics {
  /** Why, as a stable code. */
  code: string;
  /** Whether the same again later can work. */
  retryable: boolean;
  /** The WebSocket close code. `null` when there was no close, as is the next one. */
  closeCode: number | null;
  /** The reason in the close. */
  closeReason: string | null;
  /** One line for people. */
  detail: string;
  /** The pause that followed. `null` when there was to be no other attempt. */
  retryInMs: number | null;
}

/** How and why: the connection, the network and the endpoints. */
export interface EngineDiagnostics {
  /** Where the connection stands. */
  state: ConnectionState;
  /** The endpoint in use, or tried last. */
  endpoint: string;
  /** The server's name for this connection. `null` while there is none, as are the next two. */
  connectionId: string | null;
  /** Who the server takes us for. */
  userId: string | null;
  /** The server's version. */
  serverVersion: string | null;
  /** The protocol version of this client. */
  protocolVersion: number;
  /** Whether the server reads every frame kind of this page. False while not connected, as are the next ones. */
  fullDuplex: boolean;
  /** Whether the server keeps a history of topics. */
  recovery: boolean;
  /** Whether the server reads several messages in one frame. */
  batching: boolean;
  /** Whether frames are encrypted. */
  encrypted: boolean;
  /** Whether this client signs, and checks signatures. */
  signing: boolean;
  /** How this client writes: `text`, `binary` or `msgpack`. `null` while not connected. */
  encoding: "text" | "binary" | "msgpack" | null;
  /** zlib level of what this client writes. `null` while it compresses nothing. */
  compressionLevel: number | null;
  /** How well the network does; `unknown` without samples. */
  quality: NetworkQuality;
  /** 1 is steady, 0 is not. */
  stability: number;
  /** Mean difference between one round trip and the next. `null` with fewer than two. */
  jitterMs: number | null;
  /** Share of pings without an answer, in percent. */
  packetLoss: number;
  /** Mean round trip. `null` without samples. */
  roundTripTimeMs: number | null;
  /** What would help, as stable codes. */
  suggestions: readonly ("batch" | "buffer" | "unstable")[];
  /** The circuit breaker of the endpoint in use. */
  circuitBreaker: "CLOSED" | "OPEN" | "HALF_OPEN";
  /** The host says that there is no network. */
  offline: boolean;
  /** The host said that it goes to sleep, and not that it woke. */
  asleep: boolean;
  /** The application is slow, and reading has stopped. */
  readsPaused: boolean;
  /** Present pause between two pings. */
  heartbeatIntervalMs: number;
  /** Most messages that may be sent at once. `null` without a limit on the rate, as is the next one. */
  rateCapacity: number | null;
  /** Messages that may be sent in the long run. */
  rateRefill: number | null;
  /** Whether the limit is the server's. */
  rateByServer: boolean;
  /** Topics and patterns that are wanted. */
  topics: number;
  /** Most topics and patterns. */
  maxTopics: number;
  /** Topics whose position is known, so that what is missed can be asked for. */
  topicPositions: number;
  /** Positions that were forgotten to make room: what is missed there afterwards goes unnoticed. */
  topicPositionsForgotten: number;
  /** Each endpoint, in the order of the configuration. */
  endpoints: readonly EndpointMetrics[];
  /** The last end of a connection or attempt. `null` before the first. */
  lastDisconnect: DisconnectMetrics | null;
}

const NO_LEVEL: LevelMetrics = Object.freeze({ waiting: 0, queued: 0, sent: 0, dropped: 0, refused: 0 });

/** @internal Before the engine is loaded. */
export const NO_METRICS: WseMetrics = frozen({
  messagesReceived: 0,
  messagesAccepted: 0,
  messagesSent: 0,
  messagesQueued: 0,
  messagesDropped: 0,
  messagesRefused: 0,
  messagesLost: 0,
  messagesDuplicate: 0,
  messagesDeferred: 0,
  messagesRecovered: 0,
  gaps: 0,
  drops: {
    queueFull: 0,
    expired: 0,
    tooLarge: 0,
    disconnected: 0,
    closed: 0,
  },
  queue: {
    waiting: 0,
    capacity: 0,
    bytes: 0,
    byteCapacity: 0,
    oldestMs: null,
    background: NO_LEVEL,
    low: NO_LEVEL,
    normal: NO_LEVEL,
    high: NO_LEVEL,
    critical: NO_LEVEL,
  },
  sequence: {
    numbered: 0,
    missing: 0,
    late: 0,
    held: 0,
    expected: null,
  },
  framesReceived: 0,
  framesSent: 0,
  framesRejected: 0,
  framesStale: 0,
  bytesReceived: 0,
  bytesSent: 0,
  messageRate: 0,
  bandwidth: 0,
  heartbeatsReceived: 0,
  requestsPending: 0,
  requestsFailed: 0,
  connectionAttempts: 0,
  connections: 0,
  reconnectCount: 0,
  failedAttempts: 0,
  authFailures: 0,
  keysRotated: 0,
  lastLatencyMs: null,
  avgLatencyMs: null,
  minLatencyMs: null,
  maxLatencyMs: null,
  uptimeMs: 0,
  connectedForMs: null,
  connectedSinceMs: null,
  silentForMs: null,
  nextAttemptInMs: null,
});

/** @internal Before the engine is loaded. */
export const NO_ENGINE: EngineDiagnostics = frozen({
  state: ConnectionState.Idle,
  endpoint: "",
  connectionId: null,
  userId: null,
  serverVersion: null,
  protocolVersion: 1,
  fullDuplex: false,
  recovery: false,
  batching: false,
  encrypted: false,
  signing: false,
  encoding: null,
  compressionLevel: null,
  quality: "unknown",
  stability: 1,
  jitterMs: null,
  packetLoss: 0,
  roundTripTimeMs: null,
  suggestions: [],
  circuitBreaker: "CLOSED",
  offline: false,
  asleep: false,
  readsPaused: false,
  heartbeatIntervalMs: 0,
  rateCapacity: null,
  rateRefill: null,
  rateByServer: false,
  topics: 0,
  maxTopics: 0,
  topicPositions: 0,
  topicPositionsForgotten: 0,
  endpoints: [],
  lastDisconnect: null,
});

/** @internal The engine's JSON text as an object that nobody can change. */
export function readFigures<T extends object>(text: string): Readonly<T> {
  return frozen(JSON.parse(text) as T);
}

function frozen<T extends object>(figures: T): Readonly<T> {
  for (const value of Object.values(figures)) if (typeof value === "object" && value !== null) frozen(value);
  return Object.freeze(figures);
}
