/** Codes that the TypeScript side itself uses. Every other code comes from the engine or the server. */
const RETRYABLE: Readonly<Record<string, boolean>> = {
  INVALID_CONFIG: false,
  INVALID_REQUEST: false,
  NOT_CONNECTED: true,
  CONNECTION_CLOSED: true,
  CONNECT_FAILED: true,
  SLOW_CONSUMER: true,
};

/**
 * Every error of this package. `code` is stable and the same in every language of the suite
 * (PROTOCOL.md §9), for example `INVALID_CONFIG`, `NOT_CONNECTED`, `AUTH_FAILED`.
 */
export class WseError extends Error {
  override readonly name = "WseError";
  /** Stable code, upper case. */
  readonly code: string;
  /** Whether doing the same again later can work without a change by the application. */
  readonly retryable: boolean;

  constructor(code: string, message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? RETRYABLE[code] ?? false;
  }
}

/**
 * What the engine threw, as a {@link WseError}; what is something else stays the cause of one.
 * @internal
 */
export function asWseError(thrown: unknown, otherwise = "INVALID_REQUEST"): WseError {
  if (thrown instanceof WseError) return thrown;
  const { code, retryable, message } = (thrown ?? {}) as { code?: unknown; retryable?: unknown; message?: unknown };
  const text = typeof message === "string" ? message : String(thrown);
  if (typeof code === "string" && typeof retryable === "boolean") return new WseError(code, text, { retryable });
  return new WseError(otherwise, text, { cause: thrown });
}

/**
 * A handler of the application threw: the others still get their turn, and the error is seen as an uncaught one.
 * @internal
 */
export function reportUncaught(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}
