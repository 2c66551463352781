// From the feed's messages (examples/feed/README.md) to columns that a chart can draw.
import type { WseMessage } from "wse-client";
import { Live } from "./live.ts";

export const KINDS = ["cpu", "memory", "network", "disk"] as const;
export type Kind = (typeof KINDS)[number];

const WINDOW_MS = 60_000;

type Value = number | null;
interface Row {
  at: number;
  [field: string]: number | number[] | unknown;
}
interface Shape {
  /** Lines of the chart: how to read each from a message or a snapshot, which has columns in place of numbers. */
  lines: { label: string; field: string }[];
  /** A field with further lines, one for each element. */
  each?: { label: string; field: string };
}

const SHAPES: Record<Kind, Shape> = {
  cpu: { lines: [{ label: "total", field: "total" }], each: { label: "core", field: "cores" } },
  memory: { lines: [{ label: "used", field: "used" }, { label: "swap", field: "swap_used" }] },
  network: { lines: [{ label: "received", field: "received" }, { label: "sent", field: "sent" }] },
  disk: { lines: [{ label: "read", field: "read" }, { label: "written", field: "written" }] },
};

/** The last minute of one kind of counter. */
export class Track extends Live {
  labels: string[];
  /** Seconds, as the chart wants them. */
  at: number[] = [];
  lines: Value[][] = [];
  /** The whole that the first line is a part of, where there is one. */
  whole: number | undefined;
  readonly #shape: Shape;

  constructor(kind: Kind) {
    super();
    this.#shape = SHAPES[kind];
    this.labels = this.#shape.lines.map((line) => line.label);
    if (kind === "cpu") this.whole = 100;
  }

  /** The newest value of a line. */
  last(line = 0): number | undefined {
    return this.lines[line]?.at(-1) ?? undefined;
  }

  add(row: Row): void {
    if (row.at / 1000 <= (this.at.at(-1) ?? 0)) return;
    this.#shapeTo(row);
    this.at.push(row.at / 1000);
    this.#values(row).forEach((value, index) => this.lines[index]?.push(value as Value));
    this.#trim();
  }

  /** A snapshot fills what was missed; what is newer than it stays. */
  fill(snapshot: Row): void {
    const at = (snapshot.at as unknown as number[]).map((ms) => ms / 1000);
    const newer = this.at.findIndex((moment) => moment > (at.at(-1) ?? 0));
    const kept = newer < 0 ? this.at.length : newer;
    this.#shapeTo(snapshot);
    const columns = this.#values(snapshot) as Value[][];
    this.lines = this.lines.map((line, index) => [...(columns[index] ?? at.map(() => null)), ...line.slice(kept)]);
    this.at = [...at, ...this.at.slice(kept)];
    this.#trim();
  }

  #values(row: Row): unknown[] {
    const { lines, each } = this.#shape;
    return [...lines.map((line) => row[line.field]), ...(each ? (row[each.field] as unknown[]) : [])];
  }

  #shapeTo(row: Row): void {
    const { lines, each } = this.#shape;
    const cores = each ? (row[each.field] as unknown[]).length : 0;
    this.labels = [...lines.map((line) => line.label), ...Array.from({ length: cores }, (_, i) => `${each?.label} ${i + 1}`)];
    while (this.lines.length < this.labels.length) this.lines.push(this.at.map(() => null));
    if (typeof row.total === "number" && !each) this.whole = row.total;
  }

  #trim(): void {
    const oldest = (this.at.at(-1) ?? 0) - WINDOW_MS / 1000;
    const gone = this.at.findIndex((moment) => moment >= oldest);
    if (gone > 0) {
      this.at.splice(0, gone);
      for (const line of this.lines) line.splice(0, gone);
    }
    this.changed();
  }
}

export const tracks: Record<Kind, Track> = {
  cpu: new Track("cpu"),
  memory: new Track("memory"),
  network: new Track("network"),
  disk: new Track("disk"),
};

/** Puts a message of the feed on its track; says whether it was one. */
export function take(message: WseMessage): boolean {
  const snapshot = message.type.endsWith("_snapshot");
  const track = tracks[(snapshot ? message.type.slice(0, -"_snapshot".length) : message.type) as Kind];
  if (!track || !message.topic?.startsWith("host:")) return false;
  if (snapshot) track.fill(message.payload as Row);
  else track.add(message.payload as Row);
  return true;
}
