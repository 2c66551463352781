import { useEffect, useMemo, useState, type FormEvent } from "react";
import { ConnectionState, type WSEConfig } from "wse-client";
import { useWSE, useWSEClient } from "wse-client/react";
import { token } from "./api.ts";
import { Card, Empty } from "./card.tsx";
import { LONGEST, useFollowed, type Line } from "./follow.ts";
import { clock, count, rate, some } from "./format.ts";

interface TailProps {
  topic: string;
  onTopic: (topic: string) => void;
  /** Tells the page's own connection. */
  onSelf: (id: string | undefined) => void;
}

/** Follows a topic or pattern as any client does: by the hook of the npm package. */
export function Tail({ topic, onTopic, onSelf }: TailProps) {
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
  const form = (
    <form onSubmit={follow}>
      <input value={draft} onChange={(event) => setDraft(event.target.value)} placeholder="topic or pattern, e.g. room:*" aria-label="topic or pattern to follow" spellCheck={false} />
      <button type="submit" disabled={!draft.trim() || draft.trim() === topic}>
        Follow
      </button>
      {topic && (
        <button type="button" className="quiet" onClick={() => onTopic("")}>
          Stop
        </button>
      )}
    </form>
  );
  return (
    <Card title="Live tail" className="tail" tools={form}>
      {topic ? (
        <Follow key={topic} topic={topic} onSelf={onSelf} />
      ) : (
        <Empty title="Nothing is followed">Choose a topic in the table, or write a pattern: what is published there appears here.</Empty>
      )}
    </Card>
  );
}

const endpoint = `${location.origin.replace(/^http/, "ws")}/wse`;

function Follow({ topic, onSelf }: { topic: string; onSelf: TailProps["onSelf"] }) {
  const [paused, setPaused] = useState(false);
  const config = useMemo<WSEConfig>(() => ({ endpoints: [endpoint], topics: [topic], token, offline: { enabled: false } }), [topic]);
  const client = useWSEClient(config);
  const { connectionState } = useWSE(config);
  const [followed, clear] = useFollowed(client, paused);
  const isConnected = connectionState === ConnectionState.Connected;
  useEffect(() => {
    onSelf(isConnected ? client.server?.connectionId : undefined);
    return () => onSelf(undefined);
  }, [client, isConnected, onSelf]);

  const newest = followed.lines[0]?.number ?? -1;
  const behind = paused ? followed.count - 1 - newest : 0;
  return (
    <>
      <div className="row">
        <span className={`pill ${isConnected ? "good" : connectionState === ConnectionState.Failed ? "bad" : "warn"}`} role="status" data-testid="tail-state">
          {connectionState}
        </span>
        <span className="muted" data-testid="tail-count">
          {some(followed.count, "message")} · {rate(followed.rate)} a second
        </span>
        {followed.lost > 0 && <span className="bad">{count(followed.lost)} lost: this page is too slow for them</span>}
        <span className="spacer" />
        <button type="button" className="quiet" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          {paused ? `Go on${behind > 0 ? ` (${count(behind)} more)` : ""}` : "Pause"}
        </button>
        <button type="button" className="quiet" onClick={clear} disabled={followed.count === 0}>
          Clear
        </button>
      </div>
      {followed.trouble && (
        <p className="bad" role="alert">
          {followed.trouble}
        </p>
      )}
      {followed.lines.length > 0 ? (
        <ol className="lines" tabIndex={0} aria-label={`messages of ${topic}, the newest first`} data-testid="tail">
          {followed.lines.map((line) => (
            <Row key={line.number} line={line} />
          ))}
        </ol>
      ) : (
        isConnected && <Empty title={`Waiting for messages on ${topic}`}>What was published before is not shown.</Empty>
      )}
    </>
  );
}

function Row({ line }: { line: Line }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <li>
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <time>{clock(line.at)}</time> <b>{line.topic}</b> <i>{line.type}</i> <code>{line.text.slice(0, 400)}</code>
        </summary>
        {isOpen && <Whole line={line} />}
      </details>
    </li>
  );
}

function Whole({ line: { text, length } }: { line: Line }) {
  const pretty = useMemo(() => {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }, [text]);
  return (
    <pre>
      {pretty}
      {length > LONGEST && `\n… ${count(length - LONGEST)} more characters`}
    </pre>
  );
}
