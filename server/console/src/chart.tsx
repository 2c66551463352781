import { useEffect, useRef, useSyncExternalStore } from "react";
import uPlot from "uplot";
import { count } from "./format.ts";

interface ChartProps {
  /** Seconds. */
  at: number[];
  lines: { label: string; color: string; values: number[] }[];
}

const theme = matchMedia("(prefers-color-scheme: dark)");

function watchTheme(listener: () => void): () => void {
  theme.addEventListener("change", listener);
  return () => theme.removeEventListener("change", listener);
}

/** Two minutes of rates; the right edge is now. */
export function Chart({ at, lines }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const dark = useSyncExternalStore(watchTheme, () => theme.matches);
  const labels = lines.map((line) => `${line.label}:${line.color}`).join();

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const size = () => ({ width: element.clientWidth, height: element.clientHeight });
    plot.current = new uPlot({ ...size(), ...options(lines) }, [at, ...lines.map((line) => line.values)], element);
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
  return <div className="chart" ref={box} />;
}

function options(lines: ChartProps["lines"]): Omit<uPlot.Options, "width" | "height"> {
  const style = getComputedStyle(document.documentElement);
  const css = (name: string) => style.getPropertyValue(name).trim();
  const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  return {
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 12, 0, 0],
    scales: {
      x: { time: true, range: (_plot, _oldest, newest) => [newest - 120, newest] },
      y: { range: (_plot, _low, high) => [0, Math.max(high * 1.15, 1)] },
    },
    axes: [
      {
        ...axis,
        size: 22,
        splits: (_plot, _axis, _oldest, newest) => [120, 90, 60, 30, 0].map((ago) => newest - ago),
        values: () => ["-120 s", "-90", "-60", "-30", "now"],
      },
      { ...axis, size: 52, space: 34, values: (_plot, marks) => marks.map(count) },
    ],
    series: [{}, ...lines.map((line) => ({ label: line.label, stroke: css(line.color), width: 2, points: { show: false } }))],
  };
}
