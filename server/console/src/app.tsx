import { useMemo, useState, type FormEvent, type ReactNode } from "react";
import { apiKey, type ConnectionRow, type TopicRow } from "./api.ts";
import { Chart } from "./chart.tsx";
import { bytes, count, duration } from "./format.ts";
import { Publish } from "./publish.tsx";
import { Tail } from "./tail.tsx";
import { useWatch, type Watch } from "./watch.ts";

export function App() {
  const [key, setKey] = useState(apiKey.get());
  const [topic, setTopic] = useState("");
  const watch = useWatch(key);
  const enter = (next: string) => {
    apiKey.set(next);
    setKey(next);
  };
  if (watch.locked) return <Lock wrong={key !== ""} onKey={enter} />;
  return (
    <main>
      <Head watch={watch} onLeave={key ? () => enter("") : undefined} />
      {watch.report && (
        <>
          <Tiles watch={watch} />
          <Curves watch={watch} />
          <div className="halves">
            <Topics rows={watch.report.topics.list} all={watch.report.topics.total} rates={watch.topicRates} chosen={topic} onChoose={setTopic} />
            <Connections rows={watch.report.connections.list} all={watch.report.connections.total} />
          </div>
          <div className="halves">
            <Tail topic={topic} onTopic={setTopic} />
            <Publish topic={topic} />
          </div>
          <Counters stats={watch.report.counters} />
        </>
      )}
    </main>
  );
}

function Lock({ wrong, onKey }: { wrong: boolean; onKey: (key: string) => void }) {
  const [draft, setDraft] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onKey(draft.trim());
  };
  return (
    <main className="lock">
      <form className="card stack" onSubmit={submit}>
        <h1>WSE console</h1>
        <p className="muted">This server shows its inside to those who have its API key (WSE_API_KEY).</p>
        <label>
          API key <input type="password" autoComplete="off" value={draft} onChange={(event) => setDraft(event.target.value)} autoFocus />
        </label>
        {wrong && <p className="bad">The server does not know this key.</p>}
        <button type="submit" disabled={!draft.trim()}>
          Open
        </button>
      </form>
    </main>
  );
}

function Head({ watch, onLeave }: { watch: Watch; onLeave: (() => void) | undefined }) {
  const report = watch.report;
  return (
    <header className="top">
      <h1>WSE console</h1>
      {report && (
        <span className="muted">
          wse-server {report.version}, up {duration(report.uptime_seconds * 1000)}
        </span>
      )}
      {report && !report.ready && <span className="pill">draining: new clients are sent elsewhere</span>}
      <span className="spacer" />
      {watch.trouble ? (
        <span className="pill failed" role="status">
          {watch.trouble}
        </span>
      ) : (
        <span className="pill connected">{report ? "live" : "asking"}</span>
      )}
      {onLeave && (
        <button className="quiet" onClick={onLeave}>
          Forget key
        </button>
      )}
    </header>
  );
}

function Tiles({ watch }: { watch: Watch }) {
  const { report, history } = watch;
  if (!report) return null;
  const now = (values: number[]) => count(values.at(-1) ?? 0);
  const lost = report.counters["messages_lost"] ?? 0;
  return (
    <div className="tiles">
      <Tile name="connections" value={count(report.connections.total)} />
      <Tile name="topics" value={count(report.topics.total)} />
      <Tile name="messages in, a second" value={now(history.received)} />
      <Tile name="published, a second" value={now(history.published)} />
      <Tile name="delivered, a second" value={now(history.delivered)} />
      <Tile name="lost for slow readers" value={count(lost)} alarm={lost > 0} />
    </div>
  );
}

function Tile({ name, value, alarm = false }: { name: string; value: string; alarm?: boolean }) {
  return (
    <div className={`card tile${alarm ? " alarm" : ""}`}>
      <b>{value}</b>
      <span>{name}</span>
    </div>
  );
}

function Curves({ watch }: { watch: Watch }) {
  const { at, received, published, delivered } = watch.history;
  const inward = useMemo(
    () => [
      { label: "in", color: "--blue", values: received },
      { label: "published", color: "--violet", values: published },
    ],
    [received, published],
  );
  const outward = useMemo(() => [{ label: "delivered", color: "--green", values: delivered }], [delivered]);
  return (
    <div className="halves">
      <Card title="Messages in a second" legend={inward}>
        <Chart at={at} lines={inward} />
      </Card>
      <Card title="Deliveries a second" legend={outward}>
        <Chart at={at} lines={outward} />
      </Card>
    </div>
  );
}

function Card({ title, legend = [], children }: { title: string; legend?: { label: string; color: string }[]; children: ReactNode }) {
  return (
    <section className="card">
      <header>
        <h2>{title}</h2>
        <span className="spacer" />
        {legend.map(({ label, color }) => (
          <span key={label} className="legend" style={{ color: `var(${color})` }}>
            {label}
          </span>
        ))}
      </header>
      {children}
    </section>
  );
}

interface TopicsProps {
  rows: TopicRow[];
  all: number;
  rates: ReadonlyMap<string, number>;
  chosen: string;
  onChoose: (topic: string) => void;
}

function Topics({ rows, all, rates, chosen, onChoose }: TopicsProps) {
  return (
    <Card title={`Topics${rows.length < all ? `: ${rows.length} of ${count(all)}` : ""}`}>
      <div className="scroll">
        <table data-testid="topics">
          <thead>
            <tr>
              <th>topic</th>
              <th>subscribers</th>
              <th>a second</th>
              <th title="publications behind, of the slowest reader">lag</th>
              <th title="kept for who comes back">held</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.topic} aria-selected={row.topic === chosen}>
                <td>
                  <button className="link" onClick={() => onChoose(row.topic)} title="follow it below">
                    {row.topic}
                  </button>
                </td>
                <td>{count(row.subscribers)}</td>
                <td>{count(rates.get(row.topic) ?? 0)}</td>
                <td>{count(row.lag)}</td>
                <td title={`${count(row.held)} publications`}>{bytes(row.held_bytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {rows.length === 0 && <p className="hint">Nobody has published or subscribed yet.</p>}
      </div>
    </Card>
  );
}

function Connections({ rows, all }: { rows: ConnectionRow[]; all: number }) {
  return (
    <Card title={`Connections${rows.length < all ? `: ${rows.length} of ${count(all)}` : ""}`}>
      <div className="scroll">
        <table data-testid="connections">
          <thead>
            <tr>
              <th>user</th>
              <th>connection</th>
              <th>topics</th>
              <th>waiting</th>
              <th title="how full its queue is">queue</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.id}>
                <td>{row.user_id}</td>
                <td title={row.id}>…{row.id.slice(-8)}</td>
                <td>{count(row.subscriptions)}</td>
                <td>{count(row.queued)}</td>
                <td>{Math.round(row.queue_share * 100)} %</td>
              </tr>
            ))}
          </tbody>
        </table>
        {rows.length === 0 && <p className="hint">Nobody is connected.</p>}
      </div>
    </Card>
  );
}

/** Counters that an operator would rather see at 0. */
const ALARMS = /refused|rejected|lost|dropped|slow|violations|errors/;

function Counters({ stats }: { stats: Record<string, number> }) {
  return (
    <Card title="Since the start">
      <dl className="counters">
        {Object.entries(stats).map(([name, value]) => (
          <div key={name} className={ALARMS.test(name) && value > 0 ? "alarm" : ""}>
            <dt>{name.replaceAll("_", " ")}</dt>
            <dd>{name.startsWith("bytes") ? bytes(value) : count(value)}</dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}
