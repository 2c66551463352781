import { useDeferredValue, useState, type ReactNode } from "react";
import type { ConnectionRow, Report, TopicRow } from "./api.ts";
import { Card, Empty } from "./card.tsx";
import { bytes, count, rate, some } from "./format.ts";

interface TopicsProps {
  report: Report;
  rates: ReadonlyMap<string, number>;
  /** What the names of the listed topics begin with. */
  prefix: string;
  onPrefix: (prefix: string) => void;
  chosen: string;
  onChoose: (topic: string) => void;
}

/** Topics, those with most subscribers first. The server does the search: it may know more than it lists. */
export function Topics({ report: { topics, subscriptions }, rates, prefix, onPrefix, chosen, onChoose }: TopicsProps) {
  const patterns = Object.entries(subscriptions.patterns);
  const search = (
    <input type="search" aria-label="topics that begin with" placeholder="begins with…" value={prefix} onChange={(event) => onPrefix(event.target.value)} />
  );
  const row = (topic: TopicRow) => (
    <tr key={topic.topic} className={topic.topic === chosen ? "chosen" : ""}>
      <th scope="row">
        <button type="button" className="link" aria-pressed={topic.topic === chosen} title={`Follow ${topic.topic}`} onClick={() => onChoose(topic.topic)}>
          {topic.topic}
        </button>
      </th>
      <td>{count(topic.subscribers)}</td>
      <td>{rate(rates.get(topic.topic) ?? 0)}</td>
      <td className={topic.lag > 0 ? "warn" : ""}>{count(topic.lag)}</td>
      <td title={some(topic.held, "publication")}>{bytes(topic.held_bytes)}</td>
    </tr>
  );
  return (
    <Card title="Topics" note={shown(topics.list.length, topics.total)} tools={search}>
      <Table
        label="topics, most subscribers first"
        testid="topics"
        columns={[["topic"], ["subscribers"], ["a second", "publications in a second"], ["lag", "publications that the slowest reader is behind"], ["held", "kept for those who come back"]]}
        rows={topics.list.map(row)}
      />
      {topics.list.length === 0 &&
        (prefix ? (
          <Empty title={`No topic begins with “${prefix}”`} />
        ) : (
          <Empty title="No topics yet">One comes up when somebody subscribes to it or publishes to it: try the form below.</Empty>
        ))}
      {patterns.length > 0 && (
        <p className="patterns">
          <span className="muted">patterns</span>
          {patterns.slice(0, 12).map(([pattern, connections]) => (
            <button type="button" className="chip" key={pattern} title={`${some(connections, "connection")}; follow it`} onClick={() => onChoose(pattern)}>
              {pattern} <b>{count(connections)}</b>
            </button>
          ))}
          {patterns.length > 12 && <span className="muted">and {patterns.length - 12} more</span>}
        </p>
      )}
    </Card>
  );
}

/** Connections, those for which most waits first. */
export function Connections({ report: { connections }, self }: { report: Report; self: string | undefined }) {
  const [search, setSearch] = useState("");
  const wanted = useDeferredValue(search.trim().toLowerCase());
  const fits = ({ user_id, id }: ConnectionRow) => user_id.toLowerCase().includes(wanted) || id.toLowerCase().includes(wanted);
  const rows = connections.list.filter(fits);
  const row = ({ id, user_id, subscriptions, queued, queued_bytes, queue_share }: ConnectionRow) => (
    <tr key={id}>
      <th scope="row" title={user_id}>
        {user_id}
        {id === self && <span className="tag">this page</span>}
      </th>
      <td className="mono" title={id}>
        {id.slice(-8)}
      </td>
      <td>{count(subscriptions)}</td>
      <td className={queued > 0 ? "warn" : ""}>{count(queued)}</td>
      <td>{bytes(queued_bytes)}</td>
      <td>
        <meter min={0} max={1} high={0.75} value={queue_share} aria-label={`queue ${Math.round(queue_share * 100)} % full`} title={`${Math.round(queue_share * 100)} % full`} />
      </td>
    </tr>
  );
  return (
    <Card
      title="Connections"
      note={shown(connections.list.length, connections.total)}
      tools={<input type="search" aria-label="connections of user or id" placeholder="user or id…" value={search} onChange={(event) => setSearch(event.target.value)} />}
    >
      <Table
        label="connections, the longest queues first"
        testid="connections"
        columns={[["user"], ["id", "the end of the connection's id"], ["topics", "topics and patterns it asked for"], ["waiting", "messages that wait for it alone"], ["bytes", "bytes that wait, with those that its socket has not taken"], ["queue", "how full its queue is"]]}
        rows={rows.map(row)}
      />
      {rows.length === 0 &&
        (connections.total > 0 ? (
          <Empty title={`None of them is called “${search}”`} />
        ) : (
          <Empty title="Nobody is connected">
            Clients connect to <code>{location.origin.replace(/^http/, "ws")}/wse</code>.
          </Empty>
        ))}
    </Card>
  );
}

const shown = (listed: number, total: number): string => (listed > 0 && listed < total ? `${count(listed)} of ${count(total)}` : count(total));

interface TableProps {
  label: string;
  testid: string;
  /** Name and explanation. */
  columns: [string, string?][];
  rows: ReactNode[];
}

function Table({ label, testid, columns, rows }: TableProps) {
  if (rows.length === 0) return null;
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={label}>
      <table data-testid={testid}>
        <thead>
          <tr>
            {columns.map(([name, title]) => (
              <th key={name} scope="col" title={title}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{rows}</tbody>
      </table>
    </div>
  );
}
