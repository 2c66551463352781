//! Figures over time, and how they are spread, as SVG.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;

/// How many values fall where.
pub(crate) struct Histogram<'a> {
    pub(crate) title: String,
    pub(crate) unit: &'a str,
    pub(crate) values: &'a [f64],
}

/// One figure over time.
pub(crate) struct Curve<'a> {
    pub(crate) title: String,
    pub(crate) unit: &'a str,
    /// Seconds, and the figure.
    pub(crate) points: &'a [(f64, f64)],
}

impl Histogram<'_> {
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        const BARS: usize = 40;
        let most = self.values.iter().copied().fold(0.0, f64::max);
        let end = ceiling(most);
        let mut bars = [0usize; BARS];
        for value in self.values {
            bars[((value.max(0.0) / end * BARS as f64) as usize).min(BARS - 1)] += 1;
        }
        let top = ceiling(bars.iter().copied().max().unwrap_or(1) as f64);
        let axes = Axes { end, top };
        let mut shapes = String::new();
        for (at, count) in bars.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (x, y) = axes.place(end * at as f64 / BARS as f64, *count as f64);
            let (next, floor) = axes.place(end * (at + 1) as f64 / BARS as f64, 0.0);
            let _ = write!(
                shapes,
                r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}"/>"#,
                next - x - 1.0,
                floor - y
            );
        }
        axes.write(path, &self.title, self.unit, "clients", &shapes)
    }
}

impl Curve<'_> {
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let end = ceiling(self.points.last().context("no points")?.0);
        let top = ceiling(self.points.iter().map(|(_, y)| *y).fold(0.0, f64::max));
        let axes = Axes { end, top };
        let mut line = String::new();
        for (x, y) in self.points {
            let (x, y) = axes.place(*x, *y);
            let _ = write!(line, "{x:.1},{y:.1} ");
        }
        let shape = format!(r#"<polyline class="line" points="{}"/>"#, line.trim_end());
        axes.write(path, &self.title, "seconds", self.unit, &shape)
    }
}

struct Axes {
    end: f64,
    top: f64,
}

impl Axes {
    fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let (wide, high) = (WIDTH - LEFT - 20.0, HEIGHT - TOP - BOTTOM);
        (LEFT + wide * x / self.end, TOP + high * (1.0 - y / self.top))
    }

    fn write(&self, path: &Path, title: &str, across: &str, up: &str, shapes: &str) -> Result<()> {
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#24292f">
<style>rect{{fill:#2f6fb5}}.line{{fill:none;stroke:#2f6fb5;stroke-width:2}}.grid{{stroke:#d0d7de}}</style>
<path fill="#fff" d="M0 0h{WIDTH}v{HEIGHT}H0z"/><text x="{LEFT}" y="20" font-size="14">{title}</text>
"##
        );
        for step in 0..=4 {
            let part = f64::from(step) / 4.0;
            let (left, y) = self.place(0.0, self.top * part);
            let (right, _) = self.place(self.end, 0.0);
            let (x, floor) = self.place(self.end * part, 0.0);
            let (value, time) = (label(self.top * part), label(self.end * part));
            let _ = writeln!(
                svg,
                r#"<path class="grid" d="M{left:.1} {y:.1}H{right:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{value}</text><text x="{x:.1}" y="{:.1}" text-anchor="middle">{time}</text>"#,
                left - 6.0,
                y + 4.0,
                floor + 16.0
            );
        }
        let _ = writeln!(svg, r#"{shapes}"#);
        let (middle, low) = ((LEFT + WIDTH - 20.0) / 2.0, HEIGHT - 10.0);
        let _ = writeln!(
            svg,
            r#"<text x="{middle}" y="{low}" text-anchor="middle">{across}</text><text x="{:.1}" y="20" text-anchor="end">{up}</text></svg>"#,
            WIDTH - 20.0
        );
        fs::write(path, svg).with_context(|| path.display().to_string())
    }
}

fn label(value: f64) -> String {
    if value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}").trim_end_matches('0').to_owned()
    }
}

/// The next number of the form 1, 1.5, 2, 3, 4, 5, 6, 8 × 10^n.
fn ceiling(value: f64) -> f64 {
    let base = 10.0_f64.powf(value.max(1e-9).log10().floor());
    let nice = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    nice.into_iter().map(|step| step * base).find(|step| *step >= value).unwrap_or(10.0 * base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers_that_hold_everything() {
        for (value, end) in [(0.9, 1.0), (1.0, 1.0), (7.3, 8.0), (98.0, 100.0), (601.0, 800.0), (411.0, 500.0)] {
            assert!((ceiling(value) - end).abs() < 1e-6, "{value}: {}", ceiling(value));
        }
    }
}
