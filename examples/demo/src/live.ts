/** Something that changes often: listeners hear of it at most once a frame. */
export class Live {
  #version = 0;
  #due = false;
  readonly #listeners = new Set<() => void>();

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  version = (): number => this.#version;

  protected changed(): void {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#version += 1;
      for (const listener of this.#listeners) listener();
    });
  }
}
