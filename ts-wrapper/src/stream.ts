import { WseError } from "./errors.js";

/** How a stream of messages or events is read. */
export interface StreamOptions {
  /** Ends the stream. */
  signal?: AbortSignal;
  /**
   * Most items that may wait for the reader. Default 10000. When more arrive, the reader gets those that wait and then
   * a `SLOW_CONSUMER` error: nothing is left out silently.
   */
  limit?: number;
}

/** @internal A queue with one reader. It collects from the moment it is made. */
export class Stream<T> implements AsyncIterableIterator<T> {
  readonly #items: T[] = [];
  readonly #limit: number;
  readonly #onEnd: () => void;
  readonly #signal: AbortSignal | undefined;
  #end: { error?: WseError } | undefined;
  #waiting: { resolve: (result: IteratorResult<T>) => void; reject: (error: WseError) => void }[] = [];

  constructor(options: StreamOptions, onEnd: (stream: Stream<T>) => void) {
    this.#limit = options.limit ?? 10_000;
    this.#onEnd = () => onEnd(this);
    this.#signal = options.signal;
    if (this.#signal?.aborted) this.finish();
    else this.#signal?.addEventListener("abort", this.#abort);
  }

  #abort = (): void => this.finish();

  push(item: T): void {
    if (this.#end) return;
    const reader = this.#waiting.shift();
    if (reader) reader.resolve({ done: false, value: item });
    else if (this.#items.length < this.#limit) this.#items.push(item);
    else this.finish(new WseError("SLOW_CONSUMER", `more than ${this.#limit} items waited for the reader`));
  }

  /** No more items; those that wait are still read. */
  finish(error?: WseError): void {
    if (this.#end) return;
    this.#end = error ? { error } : {};
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#onEnd();
    for (const reader of this.#waiting.splice(0)) {
      if (error) reader.reject(error);
      else reader.resolve({ done: true, value: undefined });
    }
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ done: false, value: item });
    if (!this.#end) return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    const { error } = this.#end;
    this.#end = {};
    return error ? Promise.reject(error) : Promise.resolve({ done: true, value: undefined });
  }

  return(): Promise<IteratorResult<T>> {
    this.finish();
    this.#items.length = 0;
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
