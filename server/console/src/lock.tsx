import { useState, type FormEvent } from "react";
import type { Refused } from "./api.ts";

interface LockProps {
  refusal: Refused;
  /** Whether a key was sent. */
  had: boolean;
  onKey: (key: string) => void;
}

/** Asks for the API key; says what the server said of the last one. */
export function Lock({ refusal, had, onKey }: LockProps) {
  const [draft, setDraft] = useState("");
  const isWrong = refusal.status === 401 && had;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onKey(draft.trim());
  };
  return (
    <main className="lock">
      <form className="card stack" onSubmit={submit}>
        <div className="brand">
          <img src="/console/icon.svg" alt="" width="36" height="36" />
          <div>
            <h1>WSE console</h1>
            <span className="muted">{location.host}</span>
          </div>
        </div>
        {refusal.status === 403 ? (
          <p className="bad" role="alert">
            {refusal.message}
          </p>
        ) : (
          <p className="muted">
            This server shows its inside to whoever has its API key (<code>WSE_API_KEY</code>).
          </p>
        )}
        <label>
          API key
          <input
            type="password"
            autoComplete="off"
            autoFocus
            value={draft}
            aria-invalid={isWrong}
            aria-describedby={isWrong ? "wrong" : undefined}
            onChange={(event) => setDraft(event.target.value)}
          />
        </label>
        {isWrong && (
          <p id="wrong" className="bad" role="alert">
            The server does not know this key.
          </p>
        )}
        <button type="submit" disabled={!draft.trim()}>
          Open
        </button>
        <small className="muted">Kept in this tab until it is closed, and sent to this server only.</small>
      </form>
    </main>
  );
}
