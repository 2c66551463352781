import { useEffect, useState, useSyncExternalStore, type FormEvent } from "react";
import { ConnectionState, WseError, type WSEConfig } from "wse-client";
import { useWSE, useWSEClient, type UseWSE } from "wse-client/react";
import { Chart } from "./chart.tsx";
import { KINDS, take, tracks, type Kind } from "./feed.ts";
import { bytes, percent, rate } from "./format.ts";
import { log, LogCard, record } from "./log.tsx";

const CHAT = "demo:chat";
const TOPICS = [...KINDS.map((kind) => `host:${kind}`), CHAT];
const scheme = location.protocol === "https:" ? "wss" : "ws";
const token = new URLSearchParams(location.search).get("token");

const CONFIG: WSEConfig = {
  endpoints: [`${scheme}://${location.host}/wse`],
  topics: TOPICS,
  reconnection: { initialDelay: 2000, maxDelay: 8000 },
  onMessage: take,
  ...(token ? { token } : {}),
};

export function App() {
  const wse = useWSE(CONFIG);
  return (
    <main>
      <Head wse={wse} />
      <div className="charts">
        {KINDS.map((kind) => (
          <ChartCard key={kind} kind={kind} />
        ))}
      </div>
      <div className="lower">
        <Controls wse={wse} />
        <LogCard />
      </div>
      <Foot wse={wse} />
    </main>
  );
}

function Head({ wse }: { wse: UseWSE }) {
  const { connectionState, metrics } = wse;
  const latency = metrics.lastLatencyMs;
  return (
    <header className="top">
      <h1>WSE live demo</h1>
      <p>This machine's counters, ten times a second, through a Rust server and a Rust client in WebAssembly.</p>
      <span className="spacer" />
      <span className="latency" data-testid="latency">
        {latency === null ? "– ms" : `${latency < 10 ? latency.toFixed(1) : Math.round(latency)} ms`}
      </span>
      <span className={`pill ${connectionState}`} data-testid="state">
        {connectionState}
      </span>
    </header>
  );
}

const CARDS: Record<Kind, { title: string; format: (value: number) => string; colors: string[] }> = {
  cpu: { title: "CPU", format: percent, colors: ["--blue"] },
  memory: { title: "Memory", format: bytes, colors: ["--violet", "--amber"] },
  network: { title: "Network", format: rate, colors: ["--green", "--amber"] },
  disk: { title: "Disk", format: rate, colors: ["--rose", "--amber"] },
};

function ChartCard({ kind }: { kind: Kind }) {
  const track = tracks[kind];
  const { title, format, colors } = CARDS[kind];
  useSyncExternalStore(track.subscribe, track.version);
  const max = track.whole;
  return (
    <section className="card" data-testid={kind} data-points={track.at.length} data-newest={track.at.at(-1)}>
      <header>
        <h2>{title}</h2>
        <span className="spacer" />
        {colors.map((color, index) => {
          const value = track.last(index);
          return (
            <span className="value" key={color} style={{ color: `var(${color})` }}>
              <small>{track.labels[index]}</small> {value === undefined ? "–" : format(value)}
            </span>
          );
        })}
      </header>
      <Chart track={track} format={kind === "cpu" ? (value) => `${value} %` : format} colors={colors} max={max} />
    </section>
  );
}

function Controls({ wse }: { wse: UseWSE }) {
  const { isConnected, subscribe, unsubscribe, sendMessage } = wse;
  const client = useWSEClient(CONFIG);
  const [wanted, setWanted] = useState<ReadonlySet<string>>(new Set(TOPICS));
  const [text, setText] = useState("Hello from the page");
  useEffect(() => client.onEvent(record), [client]);

  const toggle = (topic: string) => {
    const next = new Set(wanted);
    if (next.delete(topic)) unsubscribe([topic]);
    else {
      next.add(topic);
      subscribe([topic]);
    }
    setWanted(next);
  };
  const send = (event: FormEvent) => {
    event.preventDefault();
    try {
      sendMessage({ type: "chat", topic: CHAT, payload: { text } });
    } catch (error) {
      log.add("error", error instanceof WseError ? error.code : "error", "send", String((error as Error).message));
    }
  };

  return (
    <section className="card controls">
      <header>
        <h2>Try it</h2>
      </header>
      <h3>Topics</h3>
      <div className="chips">
        {TOPICS.map((topic) => (
          <button key={topic} className="chip" aria-pressed={wanted.has(topic)} onClick={() => toggle(topic)}>
            {topic}
          </button>
        ))}
      </div>
      <p className="hint">Press one to unsubscribe: its chart stands still. Press again: the next snapshot fills the gap.</p>
      <h3>Message</h3>
      <form onSubmit={send}>
        <input value={text} onChange={(event) => setText(event.target.value)} aria-label="text to send" />
        <button type="submit" disabled={!isConnected}>
          Send
        </button>
      </form>
      <p className="hint">Published to {CHAT}: every open page gets it, this one too.</p>
      <h3>Connection</h3>
      <div className="row">
        <button className="danger" disabled={!isConnected} onClick={() => client.dropConnection()}>
          Cut connection
        </button>
        <ConnectionButton wse={wse} reconnect={() => client.reconnect()} />
      </div>
      <p className="hint">The socket is closed as a failing network would; the client comes back after a pause and subscribes again.</p>
    </section>
  );
}

function ConnectionButton({ wse, reconnect }: { wse: UseWSE; reconnect: () => void }) {
  const waiting = wse.connectionState === ConnectionState.Reconnecting;
  return (
    <button className="quiet" disabled={!waiting} onClick={reconnect}>
      Reconnect at once
    </button>
  );
}

function Foot({ wse }: { wse: UseWSE }) {
  const { metrics, diagnostics } = wse;
  const figures: [string, string][] = [
    ["received", `${metrics.messagesReceived.toLocaleString("en")} messages`],
    ["in", bytes(metrics.bytesReceived)],
    ["sent", `${metrics.messagesSent} messages`],
    ["lost", String(metrics.messagesLost)],
    ["connections", String(metrics.connections)],
    ["endpoint", diagnostics?.endpoint || "–"],
    ["last error", diagnostics?.lastError?.code ?? "none"],
  ];
  return (
    <footer>
      {figures.map(([name, value]) => (
        <span key={name}>
          {name} <b data-testid={name.replace(" ", "-")}>{value}</b>
        </span>
      ))}
    </footer>
  );
}
