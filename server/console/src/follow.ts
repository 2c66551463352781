import { useEffect, useRef, useState } from "react";
import type { WseClient, WseEvent, WseMessage } from "wse-client";

/** Messages that are kept, and longest text of each in characters. */
const KEPT = 300;
export const LONGEST = 4000;

/** How often the list is drawn, in milliseconds, however fast messages come. */
const DRAWN = 200;

export interface Line {
  number: number;
  at: number;
  topic: string;
  type: string;
  /** JSON, cut to {@link LONGEST}. */
  text: string;
  length: number;
}

export interface Followed {
  /** The newest first. */
  lines: Line[];
  count: number;
  /** Messages that will never come. */
  lost: number;
  /** Messages a second. */
  rate: number;
  /** What went wrong last. */
  trouble: string | null;
}

const NOTHING: Followed = { lines: [], count: 0, lost: 0, rate: 0, trouble: null };

/** What a client gets, drawn at a pace that a browser stands. While `paused` all is counted, and the list stays. */
export function useFollowed(client: WseClient, paused: boolean): [Followed, clear: () => void] {
  const [followed, setFollowed] = useState(NOTHING);
  const kept = useRef({ ...NOTHING });
  const isPaused = useRef(paused);
  isPaused.current = paused;

  useEffect(() => {
    const state = (kept.current = { ...NOTHING });
    let isNew = true;
    let before = { count: 0, at: performance.now() };
    const off = client.onEvent((event) => {
      if (note(state, event)) isNew = true;
    });
    const timer = setInterval(() => {
      const now = performance.now();
      if (now - before.at >= 1000) {
        const rate = ((state.count - before.count) * 1000) / (now - before.at);
        isNew ||= rate !== state.rate;
        state.rate = rate;
        before = { count: state.count, at: now };
      }
      if (!isNew) return;
      isNew = false;
      setFollowed((shown) => ({ ...state, lines: isPaused.current ? shown.lines : state.lines }));
    }, DRAWN);
    return () => {
      off();
      clearInterval(timer);
    };
  }, [client]);

  const clear = () => {
    Object.assign(kept.current, { lines: [], count: 0, lost: 0 });
    setFollowed({ ...kept.current });
  };
  return [followed, clear];
}

/** Whether there is something to draw. */
function note(state: Followed, event: WseEvent): boolean {
  switch (event.type) {
    case "message":
      if (event.message.topic === undefined) return false;
      state.lines = [line(event.message, state.count++), ...state.lines.slice(0, KEPT - 1)];
      return true;
    case "lost":
      state.lost += event.count ?? 1;
      return true;
    case "connected":
      state.trouble = null;
      return true;
    case "disconnected":
      state.trouble = `not connected: ${said(event.disconnect.code, event.disconnect.detail)}`;
      return true;
    case "serverError":
      state.trouble = said(event.code, event.message);
      return true;
    case "subscribed":
      if (event.refused[0]) state.trouble = event.refused.map(({ topic, reason }) => `${topic}: ${reason}`).join(", ");
      return event.refused.length > 0;
    default:
      return false;
  }
}

function said(code: string, detail: string): string {
  if (code !== "ORIGIN_NOT_ALLOWED") return detail || code;
  return `the server does not let pages of this origin connect: add ${location.origin} to its allowed_origins`;
}

function line({ topic = "", type, payloadText }: WseMessage, number: number): Line {
  return { number, at: Date.now(), topic, type, text: payloadText.slice(0, LONGEST), length: payloadText.length };
}
