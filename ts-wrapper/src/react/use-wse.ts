import { useCallback, useEffect, useRef, useSyncExternalStore } from "react";
import {
  ConnectionState,
  sharedClient,
  type WseClient,
  type OutgoingMessage,
  type SubscribeOptions,
  type WSEConfig,
  type WseDiagnostics,
  type WseMessage,
  type WseMetrics,
} from "wse-client";

/** What {@link useWSE} gives. The functions keep their identity as long as the connection is the same. */
export interface UseWSE {
  /** Whether messages flow. */
  isConnected: boolean;
  connectionState: ConnectionState;
  /** Asks for topics, now and after every reconnect. A refusal shows in `diagnostics.lastError`. */
  subscribe: (topics: string[], options?: SubscribeOptions) => void;
  /** Gives up topics, for all components on this connection. */
  unsubscribe: (topics: string[]) => void;
  /** Sends a message, or keeps it while the client connects or reconnects. Throws `WseError` with code `NOT_CONNECTED` before and after, and with `offline.enabled: false`. */
  sendMessage: (message: OutgoingMessage) => void;
  /** The last message; several that arrive together cause one render. `config.onMessage` sees all of them. */
  lastMessage: WseMessage | undefined;
  metrics: Readonly<WseMetrics>;
  /** `null` with `diagnostics.enabled: false`. */
  diagnostics: Readonly<WseDiagnostics> | null;
}

/**
 * A live connection in a component. Components with equal configurations share one socket; it is opened by the first
 * that is mounted and closed after the last is gone. The configuration may be written inline: only a changed
 * value (an endpoint, a string token, an option) makes another connection, changed topics change subscriptions.
 *
 * ```tsx
 * const { isConnected, lastMessage, sendMessage } = useWSE({ endpoints: ["wss://example.org/wse"], topics: ["news"] });
 * ```
 *
 * @throws {WseError} `INVALID_CONFIG` while rendering, for an unknown option or a value of the wrong type.
 */
export function useWSE(config: WSEConfig): UseWSE {
  const client = useWSEClient(config);
  const snapshot = useSyncExternalStore(client.store.subscribe, client.store.getSnapshot, client.store.getServerSnapshot);
  const subscribe = useCallback(
    (topics: string[], options?: SubscribeOptions) => void client.subscribe(topics, options).catch(seenInDiagnostics),
    [client],
  );
  const unsubscribe = useCallback((topics: string[]) => void client.unsubscribe(topics).catch(seenInDiagnostics), [client]);
  const sendMessage = useCallback((message: OutgoingMessage) => void client.send(message), [client]);
  return {
    isConnected: snapshot.connectionState === ConnectionState.Connected,
    connectionState: snapshot.connectionState,
    subscribe,
    unsubscribe,
    sendMessage,
    lastMessage: snapshot.lastMessage,
    metrics: snapshot.metrics,
    diagnostics: snapshot.diagnostics,
  };
}

/**
 * The client behind {@link useWSE}, held open while the component is mounted but not watched: for handlers
 * (`client.on`), iterators, and components that must not render with every message.
 */
export function useWSEClient(config: WSEConfig): WseClient {
  const shared = sharedClient(config);
  const { client } = shared;
  const latest = useRef(config);
  useEffect(() => {
    latest.current = config;
    if (typeof config.token === "function") client.replaceTokenProvider(config.token);
  });
  const topics = JSON.stringify(config.topics ?? []);
  useEffect(() => client.holdTopics(JSON.parse(topics) as string[]), [client, topics]);
  useEffect(() => client.on("*", (message) => latest.current.onMessage?.(message)), [client]);
  // Last, so that the first connection knows the topics.
  useEffect(() => shared.retain(), [shared]);
  return client;
}

/** The client keeps it as `diagnostics.lastError`. */
function seenInDiagnostics(): void {}
