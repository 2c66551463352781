/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Real-time messaging over WebSockets for browsers, workers and Node. React users: see `wse-client/react`.
 * @packageDocumentation
 */
export { WseClient, type SubscribeOptions, type WseDiagnostics, type WseSnapshot } from "./client.js";
export type { TokenProvider, WSEConfig, WseEncoding } from "./config.js";
export { initWse, type WasmSource } from "./engine.js";
export { WseError } from "./errors.js";
export {
  ConnectionState,
  type Disconnect,
  type ServerInfo,
  type SubscriptionResult,
  type WseEvent,
} from "./events.js";
export { WseMessage, type OutgoingMessage, type WseCategory, type WseNotice } from "./message.js";
export type {
  DisconnectMetrics,
  DropMetrics,
  EndpointMetrics,
  EngineDiagnostics,
  LevelMetrics,
  NetworkQuality,
  QueueMetrics,
  SequenceMetrics,
  WseMetrics,
} from "./metrics.js";
export type {
  BatchReport,
  ConfigReport,
  ConnectionReport,
  HealthReport,
  PresenceChange,
  PresenceReport,
  SequenceReport,
  SnapshotReport,
  SystemReport,
  WseRequests,
} from "./requests.js";
export type { NetworkHint } from "./host.js";
export { sharedClient, SharedClient } from "./shared.js";
export type { ReadableStore } from "./store.js";
export type { StreamOptions } from "./stream.js";
export { VERSION } from "./version.js";
