import { useState, type FormEvent, type KeyboardEvent } from "react";
import { publish, Refused } from "./api.ts";
import { Card } from "./card.tsx";
import { some } from "./format.ts";

type Outcome = { good: true; id: string; text: string } | { good: false; text: string };

/** Why a text is not JSON. */
function flaw(text: string): string | null {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Publishes one message over HTTP, as a backend would. */
export function Publish({ topic }: { topic: string }) {
  const [target, setTarget] = useState("");
  const [type, setType] = useState("note");
  const [payload, setPayload] = useState('{ "text": "hello" }');
  const [busy, setBusy] = useState(false);
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const followed = topic && !/[*?]/.test(topic) ? topic : "";
  const to = target.trim() || followed;
  const wrong = flaw(payload);
  const isReady = to !== "" && type.trim() !== "" && !wrong && !busy;

  const send = async (event?: FormEvent) => {
    event?.preventDefault();
    if (!isReady) return;
    setBusy(true);
    const start = performance.now();
    try {
      const { id, delivered } = await publish(to, type.trim(), payload);
      const took = Math.max(1, Math.round(performance.now() - start));
      setOutcome({ good: true, id, text: `Published to ${to}: ${some(delivered, "connection")}, ${took} ms` });
    } catch (error) {
      const code = error instanceof Refused ? `${error.code}: ` : "";
      setOutcome({ good: false, text: code + (error as Error).message });
    } finally {
      setBusy(false);
    }
  };
  const shortcut = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void send();
  };

  return (
    <Card title="Publish">
      <form className="stack" onSubmit={send} onKeyDown={shortcut}>
        <div className="pair">
          <label>
            Topic
            <input value={target} placeholder={followed || "room:1"} onChange={(event) => setTarget(event.target.value)} spellCheck={false} />
          </label>
          <label>
            Type
            <input value={type} onChange={(event) => setType(event.target.value)} spellCheck={false} />
          </label>
        </div>
        <label>
          Payload (JSON)
          <textarea
            rows={7}
            value={payload}
            aria-invalid={wrong !== null}
            aria-describedby={wrong ? "flaw" : undefined}
            onChange={(event) => {
              setOutcome(null);
              setPayload(event.target.value);
            }}
            spellCheck={false}
          />
        </label>
        {wrong && (
          <p id="flaw" className="bad" role="status">
            {wrong}
          </p>
        )}
        <div className="row">
          <button type="submit" disabled={!isReady}>
            Publish
          </button>
          <button type="button" className="quiet" disabled={wrong !== null} onClick={() => setPayload(JSON.stringify(JSON.parse(payload), null, 2))}>
            Tidy
          </button>
          <span className="muted">Ctrl+Enter</span>
        </div>
        {outcome && (
          <p className={outcome.good ? "good" : "bad"} role="status" data-testid="published">
            {outcome.text}
            {outcome.good && <code>{outcome.id}</code>}
          </p>
        )}
      </form>
    </Card>
  );
}
