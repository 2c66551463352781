import { WseClient } from "./client.js";
import { checkConfig, sharingKey, type WSEConfig } from "./config.js";

/**
 * A client that several holders use together. The first holder connects it; when the last one lets go it is freed on
 * the next tick, so that a holder who comes back at once (StrictMode, hot reload) finds it open.
 */
export class SharedClient {
  readonly client: WseClient;
  readonly #key: string;
  #holders = 0;

  /** @internal Use {@link sharedClient}. */
  constructor(config: WSEConfig, key: string) {
    // Topics are held by each holder on its own.
    const { topics: _topics, onMessage: _onMessage, ...own } = config;
    this.client = new WseClient(own);
    this.#key = key;
  }

  /** Connects if nobody held it yet. The answer lets go; call it once or often, it counts once. */
  retain(): () => void {
    if (!clients.has(this.#key)) clients.set(this.#key, this);
    if (++this.#holders === 1) void this.client.connect();
    let holding = true;
    return () => {
      if (!holding) return;
      holding = false;
      this.#holders -= 1;
      setTimeout(() => this.#freeIfUnheld(), 0);
    };
  }

  #freeIfUnheld(): void {
    if (this.#holders > 0) return;
    if (clients.get(this.#key) === this) clients.delete(this.#key);
    this.client.free();
  }
}

const clients = new Map<string, SharedClient>();

/**
 * The page's client for this configuration: the same one for equal configurations, whoever asks. Nothing is opened
 * until somebody calls {@link SharedClient.retain}. On a server (no `window`) each call makes its own.
 *
 * @throws {WseError} `INVALID_CONFIG`.
 */
export function sharedClient(config: WSEConfig): SharedClient {
  checkConfig(config);
  const key = sharingKey(config);
  const known = clients.get(key);
  if (known) return known;
  const shared = new SharedClient(config, key);
  if (typeof window !== "undefined") clients.set(key, shared);
  return shared;
}
