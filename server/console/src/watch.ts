import { useEffect, useState } from "react";
import { report, wantsKey, type Report } from "./api.ts";

/** How often the server is asked, in milliseconds. */
const EVERY = 1000;

/** Seconds that the curves show. */
const KEPT = 120;

/** Counters whose growth is shown. */
export const RATES = { received: "frames_received", published: "messages_published", delivered: "messages_delivered" } as const;
export type Rate = keyof typeof RATES;

export interface Watch {
  report: Report | null;
  /** Seconds, and for each counter how much it grew in a second. */
  history: { at: number[] } & Record<Rate, number[]>;
  /** By topic: publications a second. */
  topicRates: ReadonlyMap<string, number>;
  trouble: string | null;
  locked: boolean;
}

const NOTHING: Watch = {
  report: null,
  history: { at: [], received: [], published: [], delivered: [] },
  topicRates: new Map(),
  trouble: null,
  locked: false,
};

/** Follows the server's figures while the page is seen. `key` starts it anew. */
export function useWatch(key: string): Watch {
  const [watch, setWatch] = useState(NOTHING);
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout>;
    let last: { report: Report; at: number } | null = null;
    setWatch(NOTHING);
    const look = async () => {
      try {
        if (!document.hidden) {
          const next = await report();
          if (over) return;
          const now = Date.now() / 1000;
          const before = last;
          last = { report: next, at: now };
          setWatch((watch) => grown(watch, next, now, before));
        }
      } catch (error) {
        if (over) return;
        const locked = wantsKey(error);
        setWatch((watch) => ({ ...watch, locked, trouble: locked ? null : String((error as Error).message) }));
        if (locked) return;
      }
      timer = setTimeout(look, EVERY);
    };
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [key]);
  return watch;
}

function grown(watch: Watch, next: Report, now: number, before: { report: Report; at: number } | null): Watch {
  const history = { ...watch.history };
  let topicRates = watch.topicRates;
  if (before && now > before.at) {
    const seconds = now - before.at;
    const keep = (list: number[], value: number) => [...list, value].slice(-KEPT);
    history.at = keep(history.at, now);
    for (const rate of Object.keys(RATES) as Rate[]) {
      const name = RATES[rate];
      const grew = (next.counters[name] ?? 0) - (before.report.counters[name] ?? 0);
      history[rate] = keep(history[rate], Math.max(0, grew / seconds));
    }
    const old = new Map(before.report.topics.list.map((row) => [row.topic, row.published]));
    topicRates = new Map(
      next.topics.list.map((row) => [row.topic, Math.max(0, row.published - (old.get(row.topic) ?? row.published)) / seconds]),
    );
  }
  return { report: next, history, topicRates, trouble: null, locked: false };
}
