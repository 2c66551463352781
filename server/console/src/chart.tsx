import { useEffect, useRef, useSyncExternalStore } from "react";
import uPlot from "uplot";
import { Card } from "./card.tsx";
import { SHOWN } from "./watch.ts";

export interface Line {
  label: string;
  /** A variable of the style sheet. */
  color: string;
  values: number[];
}

interface ChartProps {
  title: string;
  /** Seconds. */
  at: number[];
  lines: Line[];
  format: (value: number) => string;
  /** Distances that the marks of the axis may have. */
  steps?: number[];
}

const theme = matchMedia("(prefers-color-scheme: dark)");

function watchTheme(listener: () => void): () => void {
  theme.addEventListener("change", listener);
  return () => theme.removeEventListener("change", listener);
}

/** Two minutes of rates; the right edge is now. The legend has the newest values, for those who do not see the curve too. */
export function Chart({ title, at, lines, format, steps }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const dark = useSyncExternalStore(watchTheme, () => theme.matches);
  const labels = lines.map((line) => `${line.label}:${line.color}`).join();

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const size = () => ({ width: element.clientWidth, height: element.clientHeight });
    plot.current = new uPlot({ ...size(), ...options(lines, format, steps) }, [at, ...lines.map((line) => line.values)], element);
    const sizes = new ResizeObserver(() => plot.current?.setSize(size()));
    sizes.observe(element);
    return () => {
      sizes.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
    // The lines' values are drawn below.
  }, [labels, dark]);

  useEffect(() => plot.current?.setData([at, ...lines.map((line) => line.values)]), [at, lines]);

  const legend = lines.map(({ label, color, values }) => (
    <span key={label} className={`legend ${color.slice(2)}`}>
      {label} <b>{format(values.at(-1) ?? 0)}</b>
    </span>
  ));
  return (
    <Card title={title} tools={legend}>
      <div className="chart" ref={box} aria-hidden="true" />
    </Card>
  );
}

function options(lines: Line[], format: (value: number) => string, steps?: number[]): Omit<uPlot.Options, "width" | "height"> {
  const style = getComputedStyle(document.documentElement);
  const css = (name: string) => style.getPropertyValue(name).trim();
  const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const series = ({ label, color }: Line, index: number) => ({
    label,
    stroke: css(color),
    width: 2,
    points: { show: false },
    ...(index === 0 ? { fill: `${css(color)}1f` } : {}),
  });
  return {
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 4, 0, 0],
    scales: {
      x: { time: true, range: (_plot, _oldest, newest) => [newest - SHOWN, newest] },
      y: { range: (_plot, _low, high) => [0, Math.max((high ?? 0) * 1.15, 1)] },
    },
    axes: [
      {
        ...axis,
        size: 22,
        splits: (_plot, _axis, _oldest, newest) => [90, 60, 30].map((ago) => newest - ago),
        values: () => ["-90 s", "-60 s", "-30 s"],
      },
      { ...axis, size: 58, space: 36, ...(steps ? { incrs: steps } : {}), values: (_plot, marks) => marks.map(format) },
    ],
    series: [{}, ...lines.map(series)],
  };
}
