import { useMemo } from "react";
import type { Report } from "./api.ts";
import { Card } from "./card.tsx";
import { Chart, type Line } from "./chart.tsx";
import { bytes, count, rate, some } from "./format.ts";
import type { Watch } from "./watch.ts";

/** The state of the whole server: figures of this second, and two minutes of rates. */
export function Overview({ watch, report }: { watch: Watch; report: Report }) {
  const { history } = watch;
  const now = (values: number[]) => values.at(-1) ?? 0;
  return (
    <>
      <div className="tiles" data-testid="tiles">
        <Tile name="connections" value={count(report.connections.total)} note={some(report.connections.users.length, "user", report.connections.users.length < 200 ? "users" : "users or more")} />
        <Tile name="topics" value={count(report.topics.total)} note={some(report.subscriptions.total, "subscription")} />
        <Tile name="published / s" value={rate(now(history.published))} note={`${count(report.counters["messages_published"] ?? 0)} in all`} />
        <Tile name="delivered / s" value={rate(now(history.delivered))} note={`${count(report.counters["messages_delivered"] ?? 0)} in all`} />
        <Queues report={report} />
        <Memory memory={report.memory} />
      </div>
      <Curves watch={watch} />
    </>
  );
}

function Tile({ name, value, note, bad = false }: { name: string; value: string; note: string; bad?: boolean }) {
  return (
    <div className={bad ? "card tile alarm" : "card tile"}>
      <span>{name}</span>
      <b>{value}</b>
      <small>{note}</small>
    </div>
  );
}

/** What waits, and what was lost for waiting too long. */
function Queues({ report: { connections, topics, memory, counters } }: { report: Report }) {
  const figure = (name: string) => counters[name] ?? 0;
  const lost = figure("messages_lost") + figure("sends_refused");
  const closed = figure("slow_consumers");
  const behind = topics.list.reduce((most, { lag }) => Math.max(most, lag), 0);
  const parts = [
    behind > 0 && `slowest ${count(behind)} behind`,
    lost > 0 && `${count(lost)} dropped`,
    closed > 0 && `${count(closed)} closed as slow`,
  ].filter(Boolean);
  const note = parts.length > 0 ? parts.join(", ") : `${bytes(memory.queues)}, nothing dropped`;
  return <Tile name="waiting" value={count(connections.queued)} note={note} bad={lost + closed > 0} />;
}

function Memory({ memory }: { memory: Report["memory"] }) {
  const share = memory.held / memory.budget;
  return (
    <div className={share >= 0.9 ? "card tile alarm" : "card tile"}>
      <span>memory of messages</span>
      <b>{bytes(memory.held)}</b>
      <meter min={0} max={memory.budget} high={memory.budget * 0.9} value={memory.held} aria-label={`${bytes(memory.held)} of ${bytes(memory.budget)}`} />
      <small title={`topics ${bytes(memory.topics)}, queues ${bytes(memory.queues)}`}>
        {memory.held === 0 ? "0" : share < 0.001 ? "< 0.1" : (share * 100).toFixed(1)} % of {bytes(memory.budget)}
      </small>
    </div>
  );
}

function Curves({ watch: { history } }: { watch: Watch }) {
  const { at, received, published, delivered, bytesIn, bytesOut } = history;
  const inward = useMemo<Line[]>(
    () => [
      { label: "published", color: "--violet", values: published },
      { label: "frames in", color: "--blue", values: received },
    ],
    [received, published],
  );
  const outward = useMemo<Line[]>(() => [{ label: "delivered", color: "--green", values: delivered }], [delivered]);
  const traffic = useMemo<Line[]>(
    () => [
      { label: "out", color: "--green", values: bytesOut },
      { label: "in", color: "--blue", values: bytesIn },
    ],
    [bytesIn, bytesOut],
  );
  return (
    <div className="thirds">
      <Chart title="Messages, a second" at={at} lines={inward} format={rate} />
      <Chart title="Deliveries, a second" at={at} lines={outward} format={rate} />
      <Chart title="Bytes, a second" at={at} lines={traffic} format={bytes} steps={BINARY} />
    </div>
  );
}

/** Marks of an axis of bytes. */
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** Counters that an operator would rather see at 0. Not `http_errors`: browsers open sockets that they do not use. */
const ALARMS = /refused|rejected|lost|failures|slow|limited|violations|panics/;

/** Everything that the server counts. */
export function Counters({ counters }: { counters: Record<string, number> }) {
  const rows = Object.entries(counters);
  const raised = rows.filter(([name, value]) => ALARMS.test(name) && value > 0).length;
  return (
    <Card title="Since the start" note={raised ? `${raised} to look at` : "nothing refused, lost or broken"}>
      <dl className="counters">
        {rows.map(([name, value]) => (
          <div key={name} className={value === 0 ? "zero" : ALARMS.test(name) ? "alarm" : ""}>
            <dt>{name.replaceAll("_", " ")}</dt>
            <dd>{name.startsWith("bytes") ? bytes(value) : count(value)}</dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}
