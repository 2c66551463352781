import { useCallback, useMemo, useReducer, useState, type FormEvent } from "react";
import type { WSEConfig, WseMessage } from "wse-client";
import { useWSE } from "wse-client/react";
import { token } from "./api.ts";

/** Messages that the page shows. */
const SHOWN = 200;

interface Line {
  number: number;
  at: string;
  topic: string;
  type: string;
  text: string;
}

interface Lines {
  count: number;
  lines: Line[];
}

const scheme = location.protocol === "https:" ? "wss" : "ws";

/** Follows topics as any client does: by the hook of the npm package. */
export function Tail({ topic, onTopic }: { topic: string; onTopic: (topic: string) => void }) {
  const [draft, setDraft] = useState(topic);
  const [seen, setSeen] = useState(topic);
  if (seen !== topic) {
    setSeen(topic);
    setDraft(topic);
  }
  const follow = (event: FormEvent) => {
    event.preventDefault();
    onTopic(draft.trim());
  };
  return (
    <section className="card tail">
      <header>
        <h2>Live</h2>
        <span className="spacer" />
        <form onSubmit={follow}>
          <input value={draft} onChange={(event) => setDraft(event.target.value)} placeholder="topic or pattern, e.g. room:*" aria-label="topic to follow" />
          <button type="submit">Follow</button>
          {topic && (
            <button type="button" className="quiet" onClick={() => onTopic("")}>
              Stop
            </button>
          )}
        </form>
      </header>
      {topic ? <Follow key={topic} topic={topic} /> : <p className="hint">Choose a topic in the table, or write a pattern: what is published there appears here.</p>}
    </section>
  );
}

function Follow({ topic }: { topic: string }) {
  const [state, add] = useReducer(append, { count: 0, lines: [] });
  const [paused, setPaused] = useState(false);
  const [shown, setShown] = useState<Line[] | null>(null);
  const onMessage = useCallback((message: WseMessage) => add(message), []);
  const config = useMemo<WSEConfig>(
    () => ({
      endpoints: [`${scheme}://${location.host}/wse`],
      topics: [topic],
      token,
      offline: { enabled: false },
      onMessage,
    }),
    [topic, onMessage],
  );
  const { connectionState } = useWSE(config);
  const lines = paused && shown ? shown : state.lines;
  const toggle = () => {
    setShown(paused ? null : state.lines);
    setPaused(!paused);
  };
  return (
    <>
      <p className="row">
        <span className={`pill ${connectionState}`} data-testid="tail-state">
          {connectionState}
        </span>
        <span className="muted" data-testid="tail-count">
          {state.count} messages on {topic}
        </span>
        <span className="spacer" />
        <button className="quiet" onClick={toggle}>
          {paused ? "Go on" : "Hold"}
        </button>
      </p>
      <ol className="lines" data-testid="tail">
        {lines.map((line) => (
          <li key={line.number}>
            <time>{line.at}</time> <b>{line.topic}</b> <i>{line.type}</i> <code title={line.text}>{line.text}</code>
          </li>
        ))}
      </ol>
    </>
  );
}

function append(state: Lines, message: WseMessage): Lines {
  const line = {
    number: state.count,
    at: new Date().toLocaleTimeString("en-GB", { hour12: false }),
    topic: message.topic ?? "–",
    type: message.type,
    text: JSON.stringify(message.payload),
  };
  return { count: state.count + 1, lines: [line, ...state.lines].slice(0, SHOWN) };
}
