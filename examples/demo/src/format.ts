const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** `1536` -> `1.5 kB`. */
export function bytes(value: number): string {
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value.toPrecision(3)} ${UNITS[unit]}`;
}

export const rate = (value: number): string => `${bytes(value)}/s`;
export const percent = (value: number): string => `${value.toFixed(1)} %`;
export const clock = (date: Date): string => date.toTimeString().slice(0, 8);
