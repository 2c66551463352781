import type { WasmClient } from "../wasm/wse.js";
import { checkConfig, engineOptions, type TokenProvider, type WSEConfig } from "./config.js";
import { loadEngine } from "./engine.js";
import { asWseError, reportUncaught, WseError } from "./errors.js";
import {
  ConnectionState,
  fromWire,
  type Disconnect,
  type Received,
  type ServerInfo,
  type SubscriptionResult,
  type WseEvent,
} from "./events.js";
import { checkHost, defer, dispatchOnWindow, isOnline, watchHost, type NetworkHint } from "./host.js";
import type { OutgoingMessage, WseMessage } from "./message.js";
import { NO_ENGINE, NO_METRICS, readFigures, type EngineDiagnostics, type WseMetrics } from "./metrics.js";
import type { PresenceReport, WseRequests } from "./requests.js";
import { Store, type ReadableStore } from "./store.js";
import { Stream, type StreamOptions } from "./stream.js";
import { VERSION } from "./version.js";

/** How and why: the connection, the network and the endpoints, and what only the host knows. */
export interface WseDiagnostics extends EngineDiagnostics {
  /** Whether the host thinks there is a network; true where it does not say. */
  online: boolean;
  /** The last thing that went wrong: an option, a refused topic, an error of the server. */
  lastError: WseError | undefined;
}

/** The present picture of a client. Frozen; the same object until something changed. */
export interface WseSnapshot {
  connectionState: ConnectionState;
  /** What the server said about itself; `undefined` while not connected. */
  server: ServerInfo | undefined;
  /** The last message. Several that arrive together make one change: use `on` or `messages` to see all. */
  lastMessage: WseMessage | undefined;
  metrics: Readonly<WseMetrics>;
  /** `null` with `diagnostics.enabled: false`. */
  diagnostics: Readonly<WseDiagnostics> | null;
}

/** How to take part in topics. What is left out stays as it is; at first a client is not seen, and shares with nobody. */
export interface SubscribeOptions {
  /**
   * Whether other subscribers see this user in the topics, which must be names and no patterns. `true`: it is seen;
   * `false`: it is not; anything else that `JSON.stringify` can write in 4096 bytes: it is seen, and tells this.
   */
  presence?: unknown;
  /** The queue group in which the messages are shared, each going to one member. It is left by unsubscribing. */
  group?: string | undefined;
}

type MessageHandler<T> = (message: WseMessage<T>) => void;
type EventHandler = (event: WseEvent) => void;
interface Waiter {
  resolve(server: ServerInfo): void;
  reject(error: WseError): void;
}

/** Sent before there was an engine. */
interface EarlyMessage {
  id: string;
  priority: number;
  send(engine: WasmClient): void;
}

/** Pause before the WebAssembly module is fetched again. */
const RELOAD_AFTER_MS = 2000;

/** States from which `connect()` starts anew. */
const AT_REST: ReadonlySet<string> = new Set([ConnectionState.Idle, ConnectionState.Failed, ConnectionState.Closed]);
/** What is kept until the engine is loaded, unless `offline.maxSize` says otherwise: the engine's own defaults. */
const EARLY_MESSAGES = 1000;
const EARLY_BYTES = 16 * 1024 * 1024;

const NO_DIAGNOSTICS: WseDiagnostics = Object.freeze({ ...NO_ENGINE, online: true, lastError: undefined });

const FIRST_SNAPSHOT: WseSnapshot = Object.freeze({
  connectionState: ConnectionState.Idle,
  server: undefined,
  lastMessage: undefined,
  metrics: NO_METRICS,
  diagnostics: NO_DIAGNOSTICS,
});

/**
 * One logical connection to one of several equal servers, kept up until {@link WseClient.close}.
 *
 * Making one opens nothing and loads nothing: the WebAssembly engine is loaded by the first `connect()` or `subscribe()`.
 *
 * ```ts
 * const client = new WseClient({ endpoints: ["wss://example.org/wse"], topics: ["news"] });
 * client.on("headline", (message) => console.log(message.payload));
 * await client.connect();
 * ```
 */
export class WseClient {
  /** The configuration it was made with. */
  readonly config: Readonly<WSEConfig>;
  readonly #store: Store<WseSnapshot>;
  #engine: WasmClient | undefined;
  #loading: Promise<WasmClient> | undefined;
  #wanted = false;
  #drainIsDue = false;
  #told: ConnectionState = ConnectionState.Idle;
  #provider: TokenProvider | undefined;
  #stopWatching: (() => void) | undefined;
  readonly #waiters = new Set<Waiter>();
  readonly #requests = new Map<number, { resolve(result: SubscriptionResult): void; reject(error: WseError): void }>();
  readonly #questions = new Map<number, { resolve(answer: WseMessage): void; reject(error: WseError): void }>();
  /** What the engine's diagnostics were when they were last read. */
  #diagnosed = "";
  readonly #messageHandlers = new Map<string, Set<MessageHandler<unknown>>>();
  readonly #eventHandlers = new Set<EventHandler>();
  readonly #streams = new Set<{ push(event: WseEvent): void; finish(error?: WseError): void }>();
  readonly #held = new Map<string, number>();
  /** What was sent before the engine was loaded, and the bytes of its payloads. */
  readonly #early: EarlyMessage[] = [];
  #earlyBytes = 0;
  /** Messages that no engine has seen: what became of them. */
  readonly #uncounted = { dropped: 0, refused: 0 };

  /** @throws {WseError} `INVALID_CONFIG` for an unknown option or a value of the wrong type. */
  constructor(config: WSEConfig) {
    checkConfig(config);
    this.config = Object.freeze({ ...config });
    this.#provider = typeof config.token === "function" ? config.token : undefined;
    this.#store = new Store({
      ...FIRST_SNAPSHOT,
      diagnostics: config.diagnostics?.enabled === false ? null : NO_DIAGNOSTICS,
    });
  }

  /**
   * Starts to connect; afterwards the client comes back by itself after every loss.
   *
   * Settles with the first outcome: the server when connected; a {@link WseError} when the client gave up, was closed or
   * could not start (`INVALID_CONFIG` for an address or a delay that cannot be used, or on a host without
   * `WebSocket`). While attempts fail and retries are left it waits. `signal` ends the waiting, not the connecting. You
   * need not look at the answer.
   */
  connect(options: { signal?: AbortSignal } = {}): Promise<ServerInfo> {
    const outcome = this.#firstOutcome(options.signal);
    // Callers who watch the state instead must not be punished with an unhandled rejection.
    outcome.catch(() => {});
    this.#wanted = true;
    this.#stopWatching ??= watchHost((hint) => this.networkHint(hint));
    if (this.#engine) this.#dial(this.#engine);
    else {
      this.#setState(ConnectionState.Connecting);
      this.#loadAndConnect();
    }
    return outcome;
  }

  /** Ends the connection for good. The state is `closed` at once; `connect()` works again. */
  close(code = 1000, reason = ""): void {
    this.#wanted = false;
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    if (this.#engine) {
      this.#engine.close(code, reason);
      this.#drain();
    } else if (this.connectionState !== ConnectionState.Idle) {
      this.#setState(ConnectionState.Closed);
    }
    this.#dropEarly();
    const closed = new WseError("CONNECTION_CLOSED", "the client was closed", { retryable: false });
    this.#settleWaiters((waiter) => waiter.reject(closed));
    this.#endStreams();
  }

  /** Closes, and gives the engine's memory back. `connect()` works again, with the topics of the configuration. */
  free(): void {
    this.close();
    const engine = this.#engine;
    this.#engine = undefined;
    this.#loading = undefined;
    engine?.free();
    const closed = new WseError("CONNECTION_CLOSED", "the client was closed");
    for (const request of [...this.#requests.values(), ...this.#questions.values()]) request.reject(closed);
    this.#requests.clear();
    this.#questions.clear();
  }

  /** As {@link WseClient.free}, for `using`. */
  [Symbol.dispose](): void {
    this.free();
  }

  /** Drops the present connection or attempt and dials at once. Nothing happens before `connect()`. */
  reconnect(): void {
    if (this.#wanted) this.#engine?.reconnect();
  }

  /**
   * Closes the socket behind the engine's back, as a failing network would: for demos and tests of what follows.
   * Nothing happens while there is no socket.
   */
  dropConnection(): void {
    this.#engine?.dropConnection();
  }

  /**
   * Sends a message and gives its id. While the client connects or reconnects the message is kept, and sent by priority
   * once the connection is there; an event `dropped` tells if that will not happen. Before `connect()`, after `close()`,
   * when the client has failed, and with `offline.enabled: false` whenever it is not connected, it throws `NOT_CONNECTED`.
   *
   * @throws {WseError} `NOT_CONNECTED`, `QUEUE_FULL`, `MESSAGE_TOO_LARGE`, `INVALID_TOPIC`, `INVALID_REQUEST`; nothing was sent then.
   */
  send(message: OutgoingMessage): string {
    const { type, payload, topic, id, correlationId, priority } = message;
    const text = toJson(payload);
    if (!this.#engine) return this.#keepUntilLoaded(message, text);
    try {
      const sent = this.#engine.send(type, text, topic, id, correlationId, priority);
      this.#drainSoon();
      return sent;
    } catch (error) {
      throw asWseError(error);
    }
  }

  /**
   * Asks for topics (exact names, or patterns with `*` and `?`), now and after every reconnect. Settles when the server
   * answered; topics that it refused are in the result, not an error. For topics that are subscribed the options are a
   * change.
   *
   * @throws {WseError} `INVALID_TOPIC`, `TOO_MANY_TOPICS`, `INVALID_SUBSCRIPTION` (no topic, or no name of a group),
   * `MESSAGE_TOO_LARGE` and `TOO_DEEP` (of `presence`), `INVALID_REQUEST`; nothing changed then.
   */
  subscribe(topics: readonly string[], { presence, group }: SubscribeOptions = {}): Promise<SubscriptionResult> {
    return this.#request((engine) =>
      engine.subscribe([...topics], presence === undefined ? undefined : toJson(presence), group),
    );
  }

  /**
   * Asks who is seen in a topic: a page of users in the order of their ids, those after the user `after`, at most `limit`
   * (0: their number alone; by default as many as the server likes).
   *
   * @throws {WseError} As {@link WseClient.request}; `INVALID_TOPIC` for a pattern, `TOPIC_DENIED`.
   */
  presence(topic: string, { after, limit }: { after?: string | undefined; limit?: number | undefined } = {}): Promise<PresenceReport> {
    return this.request("presence_request", { topic, after, limit });
  }

  /** Gives up topics, for everyone who uses this client. Unknown ones are no error. Else as {@link WseClient.subscribe}. */
  unsubscribe(topics: readonly string[]): Promise<SubscriptionResult> {
    return this.#request((engine) => engine.unsubscribe([...topics]));
  }

  /**
   * Asks the server something, once, and gives the payload of its answer. `type` is a question of the protocol (PROTOCOL.md
   * §11), or one that the server's application answers with this message's id as `correlationId`.
   *
   * @throws {WseError} `NOT_CONNECTED`; `TIMEOUT`; `CONNECTION_CLOSED` when the connection ended first, and the server may
   * have acted all the same; the server's own code when it refused; `QUEUE_FULL`, `MESSAGE_TOO_LARGE`, `INVALID_REQUEST`.
   */
  request<K extends keyof WseRequests>(type: K, payload?: unknown): Promise<WseRequests[K]>;
  request<T = unknown>(type: string, payload?: unknown): Promise<T>;
  async request(type: string, payload?: unknown): Promise<unknown> {
    const text = toJson(payload);
    const engine = this.#engine;
    if (!engine) throw new WseError("NOT_CONNECTED", `not connected (state ${this.connectionState})`);
    let number: number;
    try {
      number = engine.request(type, text);
    } catch (error) {
      throw asWseError(error);
    }
    const answer = new Promise<WseMessage>((resolve, reject) => this.#questions.set(number, { resolve, reject }));
    return (await answer).payload;
  }

  /** Replaces the token for the next attempt; a client that failed for its token starts again. */
  setToken(token: string | null): void {
    void this.#load().then((engine) => engine.setToken(token ?? undefined), () => {});
  }

  /**
   * Tells the client what the host knows about the network or about itself. In a page and a worker the events of the
   * browser are passed on already; in Node nothing is.
   */
  networkHint(hint: NetworkHint): void {
    try {
      this.#engine?.networkHint(hint);
    } catch (error) {
      throw asWseError(error);
    }
  }

  /**
   * Keeps a token that lets this client subscribe to one topic, for each later request for it; `null` forgets it.
   *
   * @throws {WseError} `INVALID_TOPIC`, `TOO_MANY_TOPICS`; nothing changed then.
   */
  async setChannelToken(topic: string, token: string | null): Promise<void> {
    const engine = await this.#load();
    try {
      engine.setChannelToken(topic, token ?? undefined);
    } catch (error) {
      throw asWseError(error);
    }
  }

  /**
   * Renews the keys of an encrypted connection; messages go on meanwhile. It happens by itself, as
   * `security.rotateAfter` says.
   *
   * @throws {WseError} `NOT_CONNECTED`, `ENCRYPTION_REQUIRED` when it is not encrypted, `INVALID_REQUEST` when the server
   * cannot or a rotation is under way.
   */
  rotateKeys(): void {
    if (!this.#engine) throw new WseError("NOT_CONNECTED", "not connected");
    try {
      this.#engine.rotateKeys();
    } catch (error) {
      throw asWseError(error);
    }
  }

  /** Calls `handler` with every message of this type, or with every message for `"*"`. The answer takes it off. */
  on<T = unknown>(type: string, handler: (message: WseMessage<T>) => void): () => void {
    const handlers = this.#messageHandlers.get(type) ?? new Set();
    this.#messageHandlers.set(type, handlers);
    handlers.add(handler as MessageHandler<unknown>);
    return () => void handlers.delete(handler as MessageHandler<unknown>);
  }

  /** Calls `handler` with every event: messages, states, errors. The answer takes it off. */
  onEvent(handler: (event: WseEvent) => void): () => void {
    this.#eventHandlers.add(handler);
    return () => void this.#eventHandlers.delete(handler);
  }

  /** All messages from now on, until the client is closed. */
  messages(options: StreamOptions = {}): AsyncIterableIterator<WseMessage> {
    const stream = new Stream<WseMessage>(options, () => this.#streams.delete(entry));
    const entry = {
      push: (event: WseEvent) => {
        if (event.type === "message") stream.push(event.message);
      },
      finish: (error?: WseError) => stream.finish(error),
    };
    this.#streams.add(entry);
    return stream;
  }

  /** All events from now on, until the client is closed. */
  events(options: StreamOptions = {}): AsyncIterableIterator<WseEvent> {
    const stream: Stream<WseEvent> = new Stream<WseEvent>(options, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  /** As {@link WseClient.messages}: `for await (const message of client)`. */
  [Symbol.asyncIterator](): AsyncIterableIterator<WseMessage> {
    return this.messages();
  }

  /** The present picture, to be watched; one change for each group of events that arrived together. */
  get store(): ReadableStore<WseSnapshot> {
    return this.#store;
  }

  get connectionState(): ConnectionState {
    return this.#store.getSnapshot().connectionState;
  }

  get isConnected(): boolean {
    return this.connectionState === ConnectionState.Connected;
  }

  /** What the server said about itself; `undefined` while not connected. */
  get server(): ServerInfo | undefined {
    return this.#store.getSnapshot().server;
  }

  /** Topics that are wanted, in order of first request. */
  get topics(): string[] {
    return this.#engine?.topics() ?? [...new Set([...(this.config.topics ?? []), ...this.#held.keys()])];
  }

  /** Counters and figures of this moment. */
  get metrics(): Readonly<WseMetrics> {
    return this.#readMetrics(this.#engine);
  }

  get diagnostics(): Readonly<WseDiagnostics> | null {
    return this.#store.getSnapshot().diagnostics;
  }

  /**
   * Wants topics as long as somebody holds them: subscribed by the first holder, unsubscribed a moment after the last
   * one let go. For components that come and go; the answer lets go.
   */
  holdTopics(topics: readonly string[]): () => void {
    const fresh = topics.filter((topic) => !this.#held.has(topic));
    for (const topic of topics) this.#held.set(topic, (this.#held.get(topic) ?? 0) + 1);
    if (this.#engine && fresh.length > 0) void this.subscribe(fresh).catch(noted);
    let holding = true;
    return () => {
      if (!holding) return;
      holding = false;
      for (const topic of topics) this.#held.set(topic, (this.#held.get(topic) ?? 1) - 1);
      // A component that is mounted again at once (StrictMode, hot reload) must not cost a round trip.
      setTimeout(() => this.#dropUnheld(), 0);
    };
  }

  /** @internal The hook's inline token function is a new one at every render. */
  replaceTokenProvider(provider: TokenProvider): void {
    this.#provider = provider;
  }

  #dropUnheld(): void {
    const dropped = [...this.#held].filter(([, holders]) => holders <= 0).map(([topic]) => topic);
    for (const topic of dropped) this.#held.delete(topic);
    if (this.#engine && dropped.length > 0) void this.unsubscribe(dropped).catch(noted);
  }

  #load(): Promise<WasmClient> {
    if (this.#engine) return Promise.resolve(this.#engine);
    const loading = (this.#loading ??= loadEngine().then((Engine) => {
      if (this.#loading !== loading) throw new WseError("CONNECTION_CLOSED", "the client was freed while it was loading");
      checkHost();
      const options = engineOptions(this.config, [...(this.config.topics ?? []), ...this.#held.keys()]);
      this.#engine = new Engine(
        options,
        VERSION,
        this.#provider !== undefined,
        () => this.#drainSoon(),
        (request: number, renew: boolean) => this.#fetchToken(request, renew),
      );
      return this.#engine;
    }));
    return loading.catch((error: unknown) => {
      if (this.#loading === loading) this.#loading = undefined;
      throw asWseError(error, "INVALID_CONFIG");
    });
  }

  #fetchToken(request: number, renew: boolean): void {
    const engine = this.#engine;
    const answer = (run: (engine: WasmClient) => void) => {
      if (engine && engine === this.#engine) run(engine);
    };
    // In a task of its own: the application may call anything on this client.
    void Promise.resolve()
      .then(() => this.#provider?.({ renew }))
      .then((token) => {
        if (token === null || token === undefined) answer((engine) => engine.provideToken(request, undefined));
        else if (typeof token === "string") answer((engine) => engine.provideToken(request, token));
        else throw new TypeError(`the token provider gave ${typeof token}, not a string`);
      })
      .catch((error: unknown) => answer((engine) => engine.refuseToken(request, asWseError(error).message)));
  }

  async #request(start: (engine: WasmClient) => number): Promise<SubscriptionResult> {
    try {
      const number = start(this.#engine ?? (await this.#load()));
      return await new Promise((resolve, reject) => this.#requests.set(number, { resolve, reject }));
    } catch (error) {
      this.#note(error);
      throw asWseError(error);
    }
  }

  #firstOutcome(signal: AbortSignal | undefined): Promise<ServerInfo> {
    const server = this.server;
    if (this.isConnected && server) return Promise.resolve(server);
    return new Promise((resolve, reject) => {
      const aborted = () => waiter.reject(asWseError(signal?.reason, "CONNECTION_CLOSED"));
      const settle = () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", aborted);
      };
      const waiter: Waiter = {
        resolve: (info) => (settle(), resolve(info)),
        reject: (error) => (settle(), reject(error)),
      };
      this.#waiters.add(waiter);
      if (signal?.aborted) aborted();
      else signal?.addEventListener("abort", aborted);
    });
  }

  #settleWaiters(settle: (waiter: Waiter) => void): void {
    for (const waiter of [...this.#waiters]) settle(waiter);
  }

  #drainSoon(): void {
    if (this.#drainIsDue) return;
    this.#drainIsDue = true;
    defer(() => {
      this.#drainIsDue = false;
      this.#drain();
    });
  }

  /** Takes what arrived since the last time: one change of the store, then every event to everyone. */
  #drain(): void {
    const engine = this.#engine;
    if (!engine) return;
    const received = engine.takeEvents().map(fromWire).filter((item) => item !== undefined);
    this.#store.update(this.#changes(received, engine));
    for (const item of received) this.#deliver(item);
  }

  #changes(received: readonly Received[], engine: WasmClient): Partial<WseSnapshot> {
    const metrics = this.#readMetrics(engine);
    const changes: Partial<WseSnapshot> = { connectionState: engine.state(), metrics, server: engine.server() };
    const seen: Partial<WseDiagnostics> = { ...this.#readDiagnostics(engine), online: isOnline() };
    for (const { event } of received) {
      if (event.type === "message") changes.lastMessage = event.message;
      seen.lastError = errorIn(event) ?? seen.lastError;
    }
    if (seen.lastError === undefined) delete seen.lastError;
    return { ...changes, ...this.#diagnose(seen) };
  }

  /** The engine's figures and what was counted without it; not by priority, which only the engine tells apart. */
  #readMetrics(engine: WasmClient | undefined): Readonly<WseMetrics> {
    const counted = engine ? readFigures<WseMetrics>(engine.metrics()) : NO_METRICS;
    const { dropped, refused } = this.#uncounted;
    const waiting = this.#early.length;
    if (dropped + refused + waiting === 0) return counted;
    const { drops, queue } = counted;
    return Object.freeze({
      ...counted,
      messagesAccepted: counted.messagesAccepted + waiting + dropped,
      messagesQueued: counted.messagesQueued + waiting,
      messagesDropped: counted.messagesDropped + dropped,
      messagesRefused: counted.messagesRefused + refused,
      drops: Object.freeze({ ...drops, closed: drops.closed + dropped }),
      queue: Object.freeze({ ...queue, waiting: queue.waiting + waiting, bytes: queue.bytes + this.#earlyBytes }),
    });
  }

  /** Nothing when all is as it was. */
  #readDiagnostics(engine: WasmClient): Partial<EngineDiagnostics> {
    const text = this.diagnostics === null ? this.#diagnosed : engine.diagnostics();
    if (text === this.#diagnosed) return {};
    this.#diagnosed = text;
    return readFigures<EngineDiagnostics>(text);
  }

  /** Keeps the old object when nothing changed. */
  #diagnose(seen: Partial<WseDiagnostics>): Partial<WseSnapshot> {
    const old = this.diagnostics;
    if (old === null) return {};
    const changed = Object.entries(seen).some(([name, value]) => old[name as keyof WseDiagnostics] !== value);
    return changed ? { diagnostics: Object.freeze({ ...old, ...seen }) } : {};
  }

  #deliver({ event, request }: Received): void {
    if (event.type === "stateChanged") {
      // `connecting` was told while the engine was still being loaded.
      if (event.to === this.#told) return;
      this.#told = event.to;
    }
    if (event.type === "connected") this.#settleWaiters((waiter) => waiter.resolve(event.server));
    if (event.type === "disconnected" && event.disconnect.retryInMs === undefined) this.#ended(event.disconnect);
    if (event.type === "subscribed" && request !== undefined) {
      this.#requests.get(request)?.resolve(event);
      this.#requests.delete(request);
    }
    if (event.type === "response" && request !== undefined) {
      const question = this.#questions.get(request);
      this.#questions.delete(request);
      if (event.error) question?.reject(event.error);
      else question?.resolve(event.answer);
    }
    if (event.type === "message") this.#deliverMessage(event.message);
    for (const handler of [...this.#eventHandlers]) call(handler, event);
    for (const stream of [...this.#streams]) stream.push(event);
  }

  #deliverMessage(message: WseMessage): void {
    for (const key of [message.type, "*"]) {
      const handlers = this.#messageHandlers.get(key);
      if (handlers) for (const handler of [...handlers]) call(handler, message);
    }
    if (this.config.domEvents !== false) dispatchOnWindow(message);
  }

  /** The engine gave up: nobody waits any longer. */
  #ended(end: Disconnect): void {
    if (this.connectionState !== ConnectionState.Failed) return;
    const error = new WseError(end.code, end.detail, { retryable: end.retryable });
    this.#settleWaiters((waiter) => waiter.reject(error));
    this.#endStreams(error);
  }

  #dial(engine: WasmClient): void {
    // What the host said before anybody watched. To an engine that is under way it would be news, and end a pause.
    if (AT_REST.has(engine.state())) engine.networkHint((isOnline() ? "online" : "offline") satisfies NetworkHint);
    engine.connect();
    for (const { id, priority, send } of this.#takeEarly()) {
      try {
        send(engine);
      } catch (error) {
        this.#tellDropped(id, priority, asWseError(error).code.toLowerCase());
      }
    }
  }

  /**
   * The engine, which has the queue, is on its way: until then messages wait here, as many and as large as there. Nothing
   * makes room here: when it is full, the next message is refused, however urgent.
   */
  #keepUntilLoaded({ type, topic, id: given, correlationId, priority = 5 }: OutgoingMessage, payload: string): string {
    const { enabled = true, maxSize = EARLY_MESSAGES } = this.config.offline ?? {};
    if (!this.#wanted || !enabled || this.connectionState === ConnectionState.Failed) {
      throw this.#refused(new WseError("NOT_CONNECTED", `not connected (state ${this.connectionState})`));
    }
    const bytes = this.#earlyBytes + new TextEncoder().encode(payload).length;
    if (this.#early.length >= maxSize || bytes > EARLY_BYTES) {
      const waiting = `${this.#early.length} messages of ${this.#earlyBytes} bytes wait`;
      throw this.#refused(new WseError("QUEUE_FULL", waiting, { retryable: true }));
    }
    const id = given ?? randomId();
    this.#early.push({ id, priority, send: (engine) => engine.send(type, payload, topic, id, correlationId, priority) });
    this.#earlyBytes = bytes;
    return id;
  }

  #refused(error: WseError): WseError {
    this.#uncounted.refused += 1;
    this.#store.update({ metrics: this.metrics });
    return error;
  }

  #takeEarly(): EarlyMessage[] {
    this.#earlyBytes = 0;
    return this.#early.splice(0);
  }

  #dropEarly(): void {
    const dropped = this.#takeEarly();
    if (dropped.length === 0) return;
    this.#uncounted.dropped += dropped.length;
    this.#store.update({ metrics: this.metrics });
    for (const { id, priority } of dropped) this.#tellDropped(id, priority, "closed");
  }

  #tellDropped(id: string, priority: number, reason: string): void {
    this.#deliver({ event: { type: "dropped", id, priority, reason } });
  }

  #loadAndConnect(): void {
    this.#load().then(
      (engine) => {
        if (this.#wanted) this.#dial(engine);
      },
      (error: WseError) => {
        if (this.#wanted) this.#loadFailed(error);
      },
    );
  }

  /** The engine could not be made: for good when a setting is wrong, for a while when the module did not come. */
  #loadFailed(error: WseError): void {
    this.#note(error);
    const { code, retryable, message: detail } = error;
    if (retryable) {
      setTimeout(() => {
        if (this.#wanted && !this.#engine) this.#loadAndConnect();
      }, RELOAD_AFTER_MS);
    } else {
      this.#setState(ConnectionState.Failed);
      this.#dropEarly();
    }
    const disconnect = { code, retryable, detail, ...(retryable ? { retryInMs: RELOAD_AFTER_MS } : {}) };
    this.#deliver({ event: { type: "disconnected", disconnect } });
  }

  #endStreams(error?: WseError): void {
    for (const stream of [...this.#streams]) stream.finish(error);
  }

  #setState(to: ConnectionState): void {
    const from = this.connectionState;
    if (from === to) return;
    this.#store.update({ connectionState: to });
    this.#deliver({ event: { type: "stateChanged", from, to } });
  }

  #note(error: unknown): void {
    this.#store.update(this.#diagnose({ lastError: asWseError(error) }));
  }
}

function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function toJson(payload: unknown): string {
  if (payload === undefined) return "{}";
  let text: string | undefined;
  try {
    text = JSON.stringify(payload);
  } catch (cause) {
    throw new WseError("INVALID_REQUEST", `the payload cannot be written as JSON: ${String(cause)}`, { cause });
  }
  if (text === undefined) throw new WseError("INVALID_REQUEST", `a ${typeof payload} cannot be written as JSON`);
  return text;
}

function errorIn(event: WseEvent): WseError | undefined {
  if (event.type === "serverError") return new WseError(event.code, event.message, { retryable: event.recoverable });
  if (event.type === "rejected") return new WseError(event.code, event.detail);
  if (event.type === "disconnected" && event.disconnect.code !== "CONNECTION_CLOSED") {
    const { code, detail, retryable } = event.disconnect;
    return new WseError(code, detail, { retryable });
  }
  if (event.type === "subscribed" && event.refused[0]) {
    const { topic, reason } = event.refused[0];
    return new WseError("TOPIC_DENIED", `${topic}: ${reason}`);
  }
  return undefined;
}

/** For callers without a hand to catch it: the client keeps it as `diagnostics.lastError`. */
function noted(): void {}

function call<T>(handler: (value: T) => void, value: T): void {
  try {
    handler(value);
  } catch (error) {
    reportUncaught(error);
  }
}
