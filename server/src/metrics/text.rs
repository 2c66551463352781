//! The text format of Prometheus. Source: the exposition formats page of its documentation, version 0.0.4.

use std::fmt::{Display, Write as _};

use super::histogram::{BOUNDS, Times};

/// What it is served as.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes families one after the other. Label values must need no escape: they are checked where they are made.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// A family of counters; samples follow.
    pub(super) fn counters(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// A family of gauges; samples follow.
    pub(super) fn gauges(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// A family of histograms; samples follow.
    pub(super) fn histograms(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    /// A counter without labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help).sample(&[], value);
    }

    /// A gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help).sample(&[], value);
    }

    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        let help = help.trim();
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { name, out: &mut self.0 }
    }
}

/// One metric, being written.
pub(super) struct Family<'a> {
    name: &'a str,
    out: &'a mut String,
}

/// Name and value of each label.
type Labels<'a> = [(&'a str, &'a str)];

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    pub(super) fn times(&mut self, labels: &Labels<'_>, times: &Times) {
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(times.buckets) {
            below += count;
            self.line("_bucket", labels, Some(&seconds(*bound).to_string()), below);
        }
        self.line("_bucket", labels, Some("+Inf"), times.count());
        self.line("_sum", labels, None, seconds(times.nanos));
        self.line("_count", labels, None, times.count());
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, bound: Option<&str>, value: impl Display) {
        let all: Vec<String> = labels
            .iter()
            .copied()
            .chain(bound.map(|bound| ("le", bound)))
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let labels = if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) };
        let _ = writeln!(self.out, "{}{suffix}{labels} {value}", self.name);
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_look_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.counters("a_total", " Help. ").sample(&[("x", "1"), ("y", "2")], 3);
        text.gauge("b", "More.", 0.5);
        let expected = "# HELP a_total Help.\n# TYPE a_total counter\na_total{x=\"1\",y=\"2\"} 3\n\
                        # HELP b More.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn buckets_add_up() {
        let mut times = Times { nanos: 1_500_000_000, ..Times::default() };
        (times.buckets[0], times.buckets[20]) = (2, 1);
        let mut text = Text::default();
        text.histograms("h_seconds", "H.").times(&[("p", "5")], &times);
        let text = text.finish();
        assert!(text.contains("h_seconds_bucket{p=\"5\",le=\"0.000001\"} 2\n"), "{text}");
        assert!(text.contains("h_seconds_bucket{p=\"5\",le=\"10\"} 2\n"), "{text}");
        assert!(text.contains("h_seconds_bucket{p=\"5\",le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.contains("h_seconds_sum{p=\"5\"} 1.5\nh_seconds_count{p=\"5\"} 3\n"), "{text}");
    }
}
