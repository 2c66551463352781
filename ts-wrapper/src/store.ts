import { reportUncaught } from "./errors.js";

/** A value that can be watched, in the shape that `useSyncExternalStore` wants. */
export interface ReadableStore<T> {
  /** Calls `listener` after every change; the answer takes it off. */
  subscribe(listener: () => void): () => void;
  /** The present value: frozen, and the same object until something changed. */
  getSnapshot(): T;
  /** The value at the beginning, which is what a server renders. */
  getServerSnapshot(): T;
}

/** @internal */
export class Store<T extends object> implements ReadableStore<T> {
  #value: Readonly<T>;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = Object.freeze(value);
    const first = this.#value;
    this.getServerSnapshot = () => first;
  }

  readonly getServerSnapshot: () => Readonly<T>;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  getSnapshot = (): Readonly<T> => this.#value;

  /** One change, one round of calls. */
  update(changes: Partial<T>): void {
    this.#value = Object.freeze({ ...this.#value, ...changes });
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        reportUncaught(error);
      }
    }
  }
}
