import { useState, type FormEvent } from "react";
import { publish } from "./api.ts";

/** Publishes one message over HTTP, as a backend would. */
export function Publish({ topic }: { topic: string }) {
  const [target, setTarget] = useState("");
  const [type, setType] = useState("note");
  const [payload, setPayload] = useState('{"text":"hello"}');
  const [outcome, setOutcome] = useState<{ good: boolean; text: string } | null>(null);
  const exact = topic && !/[*?]/.test(topic) ? topic : "";

  const send = async (event: FormEvent) => {
    event.preventDefault();
    const to = target.trim() || exact;
    let value: unknown;
    try {
      value = JSON.parse(payload);
    } catch (error) {
      setOutcome({ good: false, text: `payload is no JSON: ${(error as Error).message}` });
      return;
    }
    try {
      const { id, delivered } = await publish(to, type.trim(), value);
      setOutcome({ good: true, text: `${id} goes to ${delivered} connection${delivered === 1 ? "" : "s"}` });
    } catch (error) {
      setOutcome({ good: false, text: String((error as Error).message) });
    }
  };

  return (
    <section className="card">
      <header>
        <h2>Publish</h2>
      </header>
      <form className="stack" onSubmit={send}>
        <label>
          Topic <input value={target} placeholder={exact || "room:1"} onChange={(event) => setTarget(event.target.value)} />
        </label>
        <label>
          Type <input value={type} onChange={(event) => setType(event.target.value)} />
        </label>
        <label>
          Payload (JSON) <textarea rows={4} value={payload} onChange={(event) => setPayload(event.target.value)} spellCheck={false} />
        </label>
        <div className="row">
          <button type="submit" disabled={!(target.trim() || exact) || !type.trim()}>
            Publish
          </button>
          {outcome && (
            <span className={outcome.good ? "good" : "bad"} role="status" data-testid="published">
              {outcome.text}
            </span>
          )}
        </div>
      </form>
    </section>
  );
}
