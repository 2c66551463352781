import { useEffect, useState } from "react";
import { Refused, report, type Report } from "./api.ts";

/** How often the server is asked, in milliseconds; less often where it has so much to tell that it takes long. */
const EVERY = 1000;
const SHARE = 10;

/** Seconds that the curves show. */
export const SHOWN = 120;

/** Counters whose growth is shown. */
const RATES = {
  received: "frames_received",
  published: "messages_published",
  delivered: "messages_delivered",
  bytesIn: "bytes_received",
  bytesOut: "bytes_sent",
} as const;
export type Rate = keyof typeof RATES;
const NAMES = Object.keys(RATES) as Rate[];

export interface History extends Record<Rate, number[]> {
  /** Seconds since 1970. */
  at: number[];
}

export interface Watch {
  report: Report | null;
  /** When the report came, in milliseconds since 1970. */
  seen: number;
  /** How much each counter grew in a second. */
  history: History;
  /** By topic: publications a second. */
  topicRates: ReadonlyMap<string, number>;
  /** What keeps the page from asking. */
  trouble: string | null;
  /** The server's word on the key, where it wants another one. */
  locked: Refused | null;
}

const NOTHING: Watch = {
  report: null,
  seen: 0,
  history: { at: [], received: [], published: [], delivered: [], bytesIn: [], bytesOut: [] },
  topicRates: new Map(),
  trouble: null,
  locked: null,
};

/** Follows the server's figures while the page is seen. Another `attempt` starts it anew. */
export function useWatch(attempt: number, prefix: string): Watch {
  const [watch, setWatch] = useState(NOTHING);
  useEffect(() => setWatch(NOTHING), [attempt]);
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async () => {
      clearTimeout(timer);
      timer = undefined;
      const start = performance.now();
      try {
        const next = await report(prefix);
        if (over) return;
        setWatch((watch) => grown(watch, next, Date.now()));
      } catch (error) {
        if (over) return;
        const locked = error instanceof Refused && error.isAboutKey ? error : null;
        setWatch((watch) => ({ ...watch, locked, trouble: locked ? null : (error as Error).message }));
        if (locked) return;
      }
      timer = setTimeout(tick, Math.max(EVERY, SHARE * (performance.now() - start)));
    };
    const tick = () => {
      timer = undefined;
      if (!document.hidden) void look();
    };
    const shown = () => {
      if (!document.hidden && timer === undefined) tick();
    };
    document.addEventListener("visibilitychange", shown);
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", shown);
    };
  }, [attempt, prefix]);
  return watch;
}

function grown(watch: Watch, next: Report, now: number): Watch {
  const base = { report: next, seen: now, trouble: null, locked: null };
  const before = watch.report;
  const seconds = (now - watch.seen) / 1000;
  if (!before || seconds <= 0) return { ...watch, ...base };
  // Counters that are smaller are those of a server that was started anew.
  const isSame = next.uptime_seconds >= before.uptime_seconds;
  const growth = (name: string) => Math.max(0, (next.counters[name] ?? 0) - (isSame ? (before.counters[name] ?? 0) : 0)) / seconds;
  const at = [...watch.history.at, now / 1000].slice(-SHOWN);
  const history: History = { ...watch.history, at };
  for (const rate of NAMES) history[rate] = [...history[rate], growth(RATES[rate])].slice(-SHOWN);
  const old = new Map(before.topics.list.map((row) => [row.topic, row.published]));
  const rate = ({ topic, published }: { topic: string; published: number }) =>
    Math.max(0, published - (old.get(topic) ?? published)) / seconds;
  return { ...base, history, topicRates: new Map(next.topics.list.map((row) => [row.topic, rate(row)])) };
}
