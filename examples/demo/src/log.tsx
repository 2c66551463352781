import { useState, useSyncExternalStore } from "react";
import type { WseEvent } from "wse-client";
import { clock } from "./format.ts";
import { Live } from "./live.ts";

interface Entry {
  key: number;
  at: string;
  sort: "feed" | "message" | "state" | "error";
  what: string;
  where: string;
  text: string;
}

const KEPT = 200;
const SHOWN = 60;

class Log extends Live {
  entries: Entry[] = [];
  #next = 0;

  add(sort: Entry["sort"], what: string, where: string, text: string): void {
    this.entries.unshift({ key: this.#next++, at: clock(new Date()), sort, what, where, text: text.slice(0, 160) });
    this.entries.length = Math.min(this.entries.length, KEPT);
    this.changed();
  }
}

export const log = new Log();

/** Writes an event of the client into the log. */
export function record(event: WseEvent): void {
  switch (event.type) {
    case "message": {
      const { type, topic, payloadText } = event.message;
      log.add(topic?.startsWith("host:") ? "feed" : "message", type, topic ?? "to this client", payloadText);
      return;
    }
    case "stateChanged":
      return log.add("state", event.to, "connection", `was ${event.from}`);
    case "disconnected": {
      const { code, detail, retryInMs } = event.disconnect;
      const next = retryInMs === undefined ? "no further attempt" : `next attempt in ${Math.round(retryInMs)} ms`;
      return log.add("error", code, "connection", `${detail}: ${next}`);
    }
    case "subscribed": {
      const refused = event.refused.map(({ topic, reason }) => `${topic} refused: ${reason}`).join(", ");
      return log.add(refused ? "error" : "state", `${event.action}d`, "topics", refused || event.accepted.join(", "));
    }
    case "serverError":
      return log.add("error", event.code, "server", event.message);
    case "rejected":
      return log.add("error", event.code, "frame refused", event.detail);
    case "lost":
      return log.add("error", "lost", event.topic ?? "", `${event.count ?? "some"} messages`);
    case "connected":
    case "latency":
      return;
  }
}

export function LogCard() {
  const [feed, setFeed] = useState(true);
  const [frozen, setFrozen] = useState<Entry[] | null>(null);
  useSyncExternalStore(log.subscribe, log.version);
  const entries = (frozen ?? log.entries).filter((entry) => feed || entry.sort !== "feed").slice(0, SHOWN);
  return (
    <section className="card log">
      <header>
        <h2>Messages</h2>
        <span className="spacer" />
        <label>
          <input type="checkbox" checked={feed} onChange={() => setFeed(!feed)} /> show the feed
        </label>
        <button className="quiet" onClick={() => setFrozen(frozen ? null : [...log.entries])}>
          {frozen ? "Go on" : "Hold"}
        </button>
      </header>
      <ol data-testid="log">
        {entries.map((entry) => (
          <li key={entry.key} className={entry.sort}>
            <time>{entry.at}</time>
            <b>{entry.what}</b>
            <i>{entry.where}</i>
            <code>{entry.text}</code>
          </li>
        ))}
      </ol>
    </section>
  );
}
