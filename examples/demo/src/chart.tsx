import { useEffect, useRef, useSyncExternalStore } from "react";
import uPlot from "uplot";
import type { Track } from "./feed.ts";

interface ChartProps {
  track: Track;
  format: (value: number) => string;
  /** Names of CSS variables with the colours of the first lines; the others get a faint one. */
  colors: string[];
  /** Highest value of the axis; without it the axis follows the data. */
  max?: number;
}

/** Draws a track; each change of it moves the chart without a render of React. */
export function Chart({ track, format, colors, max }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const lineCount = useSyncExternalStore(track.subscribe, () => track.labels.length);
  const dark = useSyncExternalStore(watchTheme, () => theme.matches);

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const plot = new uPlot(options(element, track, format, colors, max), data(track), element);
    const draw = () => plot.setData(data(track));
    const stop = track.subscribe(draw);
    const sizes = new ResizeObserver(() => plot.setSize(sizeOf(element)));
    sizes.observe(element);
    return () => {
      stop();
      sizes.disconnect();
      plot.destroy();
    };
    // Colours and formats are constants of the page.
  }, [track, lineCount, dark, max]);

  return <div className="chart" ref={box} />;
}

/** Seconds before the newest sample where the axis has a mark. */
const MARKS = [60, 50, 40, 30, 20, 10, 0];

const theme = matchMedia("(prefers-color-scheme: dark)");

function watchTheme(listener: () => void): () => void {
  theme.addEventListener("change", listener);
  return () => theme.removeEventListener("change", listener);
}

const sizeOf = (element: HTMLElement) => ({ width: element.clientWidth, height: element.clientHeight });

function data(track: Track): uPlot.AlignedData {
  const lines = track.labels.map((_, index) => track.lines[index] ?? []);
  return [track.at, ...lines];
}

function options(
  element: HTMLElement,
  track: Track,
  format: (value: number) => string,
  colors: string[],
  max: number | undefined,
): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const css = (name: string) => style.getPropertyValue(name).trim();
  const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const line = (label: string, index: number): uPlot.Series => {
    const color = colors[index];
    const main = index === 0;
    return {
      label,
      stroke: css(color ?? "--faint"),
      width: color ? 2 : 1,
      points: { show: false },
      ...(main ? { fill: `${css(color ?? "--faint")}22` } : {}),
    };
  };
  return {
    ...sizeOf(element),
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 16, 0, 0],
    // The right edge is the newest sample, the left edge a minute before it: the curve moves.
    scales: {
      x: { time: true, range: (_plot, _min, newest) => [newest - 60, newest] },
      y: { range: (_plot, _low, high) => [0, max ?? Math.max(high * 1.15, 1)] },
    },
    axes: [
      { ...axis, size: 24, splits: (_plot, _axis, _oldest, newest) => MARKS.map((ago) => newest - ago), values: () => MARKS.map(ago) },
      { ...axis, size: 64, space: 36, values: (_plot, marks) => marks.map(format) },
    ],
    series: [{}, ...track.labels.map(line)],
  };
}

const ago = (seconds: number): string => (seconds === 0 ? "now" : `-${seconds} s`);
