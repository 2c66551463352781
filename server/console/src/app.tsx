import { useState } from "react";
import { apiKey } from "./api.ts";
import { duration } from "./format.ts";
import { Lock } from "./lock.tsx";
import { Counters, Overview } from "./overview.tsx";
import { Publish } from "./publish.tsx";
import { Connections, Topics } from "./tables.tsx";
import { Tail } from "./tail.tsx";
import { useWatch, type Watch } from "./watch.ts";

export function App() {
  const [attempt, setAttempt] = useState(0);
  const [prefix, setPrefix] = useState("");
  const [topic, setTopic] = useState("");
  const [self, setSelf] = useState<string>();
  const watch = useWatch(attempt, prefix);
  const enter = (key: string) => {
    apiKey.set(key);
    setAttempt(attempt + 1);
  };
  const leave = () => {
    setTopic("");
    enter("");
  };
  if (watch.locked) return <Lock key={attempt} refusal={watch.locked} had={apiKey.get() !== ""} onKey={enter} />;
  return (
    <>
      <Head watch={watch} onLeave={apiKey.get() ? leave : undefined} />
      <main>
        {watch.trouble && <Trouble watch={watch} />}
        {!watch.report && !watch.trouble && <p className="asking">Asking the server…</p>}
        {watch.report && (
          <div className={watch.trouble ? "body stale" : "body"}>
            <Overview watch={watch} report={watch.report} />
            <div className="halves">
              <Topics report={watch.report} rates={watch.topicRates} prefix={prefix} onPrefix={setPrefix} chosen={topic} onChoose={setTopic} />
              <Connections report={watch.report} self={self} />
            </div>
            <div className="tail-and-form">
              <Tail topic={topic} onTopic={setTopic} onSelf={setSelf} />
              <Publish topic={topic} />
            </div>
            <Counters counters={watch.report.counters} />
          </div>
        )}
      </main>
    </>
  );
}

function Head({ watch, onLeave }: { watch: Watch; onLeave: (() => void) | undefined }) {
  const { report, trouble } = watch;
  return (
    <header className="top">
      <img src="/console/icon.svg" alt="" width="24" height="24" />
      <h1>WSE console</h1>
      {report && (
        <span className="muted facts">
          wse-server {report.version} · up {duration(report.uptime_seconds)} · {location.host}
        </span>
      )}
      <span className="spacer" />
      {report && !report.ready && <span className="pill warn">draining</span>}
      <span className={`pill ${trouble ? "bad" : report ? "good" : "warn"}`} role="status" data-testid="state">
        {trouble ? "no answer" : report ? "live" : "asking"}
      </span>
      {onLeave && (
        <button type="button" className="quiet" onClick={onLeave}>
          Forget key
        </button>
      )}
    </header>
  );
}

/** The server does not answer: since when the figures are old, and that the page goes on asking. */
function Trouble({ watch }: { watch: Watch }) {
  const ago = Math.round((Date.now() - watch.seen) / 1000);
  return (
    <div className="banner" role="alert">
      <b>The server does not answer</b> ({watch.trouble}). Asking again every second
      {watch.report ? `; the figures below are ${duration(Math.max(1, ago))} old.` : "."}
    </div>
  );
}
