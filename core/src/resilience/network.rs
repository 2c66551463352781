//! Latency, jitter and quality of a connection, from round trips. Source: PROTOCOL.md §7.5.

use std::{collections::VecDeque, time::Duration};

/// Round trips and lost pings that are looked at.
const WINDOW: usize = 50;

/// Round trips that a judgement takes at least.
const ENOUGH: usize = 2;

/// How well the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Quality {
    /// Too few samples.
    #[default]
    Unknown,
    /// Neither good, fair nor excellent.
    Poor,
    /// At most 300 ms, 100 ms of jitter, 3 % loss.
    Fair,
    /// At most 150 ms, 50 ms of jitter, 1 % loss.
    Good,
    /// At most 50 ms, 25 ms of jitter, 0.1 % loss.
    Excellent,
}

impl Quality {
    /// The lower-case name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Poor => "poor",
            Self::Fair => "fair",
            Self::Good => "good",
            Self::Excellent => "excellent",
        }
    }
}

/// What would help, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suggestion {
    /// Round trips are long: send in batches.
    Batch,
    /// Round trips vary: buffer what is shown.
    Buffer,
    /// Pings get lost: expect reconnects.
    Unstable,
}

impl Suggestion {
    /// The lower-case name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Buffer => "buffer",
            Self::Unstable => "unstable",
        }
    }
}

/// What the last round trips say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetworkReport {
    /// The judgement.
    pub quality: Quality,
    /// Mean round trip; `None` without samples. So are the next two.
    pub latency: Option<Duration>,
    /// Shortest round trip.
    pub latency_min: Option<Duration>,
    /// Longest round trip.
    pub latency_max: Option<Duration>,
    /// Mean difference between one round trip and the next; `None` with fewer than two.
    pub jitter: Option<Duration>,
    /// Share of pings without an answer, 0 to 1.
    pub loss: f64,
    /// 1 is steady, 0 is not: `1 - jitter / 200 ms - loss / 20 %`.
    pub stability: f64,
    /// What would help.
    pub suggestions: Vec<Suggestion>,
}

/// A ping that got no answer.
const UNANSWERED: u16 = u16::MAX;

/// Collects round trips over connections, in whole milliseconds like every [`Moment`](crate::time::Moment); above 65 s they
/// count as that.
#[derive(Debug, Clone, Default)]
pub struct NetworkMonitor {
    /// Milliseconds, or [`UNANSWERED`]. Small, since a server has one for each connection.
    samples: VecDeque<u16>,
}

impl NetworkMonitor {
    /// Notes a round trip.
    pub fn answered(&mut self, round_trip: Duration) {
        let millis = u16::try_from(round_trip.as_millis()).unwrap_or(UNANSWERED);
        self.note(millis.min(UNANSWERED - 1));
    }

    /// Notes a ping that got no answer in time.
    pub fn unanswered(&mut self) {
        self.note(UNANSWERED);
    }

    /// Forgets everything: the network is another one.
    pub fn reset(&mut self) {
        self.samples.clear();
    }

    /// Judges the last 50 samples.
    pub fn report(&self) -> NetworkReport {
        let answered = self.samples.iter().filter(|sample| **sample != UNANSWERED);
        let trips: Vec<_> = answered.map(|millis| Duration::from_millis((*millis).into())).collect();
        let steps: Vec<Duration> = trips.windows(2).map(|pair| pair[0].abs_diff(pair[1])).collect();
        let lost = self.samples.len() - trips.len();
        let loss = if self.samples.is_empty() { 0.0 } else { lost as f64 / self.samples.len() as f64 };
        let (latency, jitter) = (mean(&trips), mean(&steps));
        let quality = judge(latency, jitter, loss, self.samples.len());
        NetworkReport {
            quality,
            latency,
            latency_min: trips.iter().min().copied(),
            latency_max: trips.iter().max().copied(),
            jitter,
            loss,
            stability: (1.0 - millis(jitter) / 200.0 - loss / 0.2).clamp(0.0, 1.0),
            suggestions: suggest(latency, jitter, loss),
        }
    }

    fn note(&mut self, sample: u16) {
        if self.samples.len() == WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

fn judge(latency: Option<Duration>, jitter: Option<Duration>, loss: f64, samples: usize) -> Quality {
    if samples < ENOUGH {
        return Quality::Unknown;
    }
    let Some(latency) = latency else { return Quality::Poor };
    let within = |ms: u64, jitter_ms: f64, share: f64| {
        latency <= Duration::from_millis(ms) && millis(jitter) <= jitter_ms && loss <= share
    };
    match () {
        () if within(50, 25.0, 0.001) => Quality::Excellent,
        () if within(150, 50.0, 0.01) => Quality::Good,
        () if within(300, 100.0, 0.03) => Quality::Fair,
        () => Quality::Poor,
    }
}

fn suggest(latency: Option<Duration>, jitter: Option<Duration>, loss: f64) -> Vec<Suggestion> {
    let all = [
        (millis(latency) > 150.0, Suggestion::Batch),
        (millis(jitter) > 50.0, Suggestion::Buffer),
        (loss > 0.01, Suggestion::Unstable),
    ];
    all.into_iter().filter(|(due, _)| *due).map(|(_, suggestion)| suggestion).collect()
}

fn mean(lengths: &[Duration]) -> Option<Duration> {
    let count = u32::try_from(lengths.len()).ok().filter(|count| *count > 0)?;
    Some(lengths.iter().sum::<Duration>() / count)
}

fn millis(length: Option<Duration>) -> f64 {
    length.map_or(0.0, |length| length.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(trips: &[u64]) -> NetworkReport {
        let mut monitor = NetworkMonitor::default();
        trips.iter().for_each(|ms| monitor.answered(Duration::from_millis(*ms)));
        monitor.report()
    }

    #[test]
    fn without_samples_nobody_knows() {
        assert_eq!(after(&[]).quality, Quality::Unknown);
        assert_eq!(after(&[10]).quality, Quality::Unknown);
        assert_eq!(after(&[10]).jitter, None);
    }

    #[test]
    fn latency_jitter_and_loss_decide() {
        assert_eq!(after(&[20, 30, 20]).quality, Quality::Excellent);
        assert_eq!(after(&[100, 120]).quality, Quality::Good);
        assert_eq!(after(&[20, 100, 20]).quality, Quality::Fair, "it varies by 80 ms");
        assert_eq!(after(&[400, 400]).quality, Quality::Poor);
        assert_eq!(after(&[400, 400]).suggestions, [Suggestion::Batch]);

        let mut monitor = NetworkMonitor::default();
        (0..9).for_each(|_| monitor.answered(Duration::from_millis(20)));
        monitor.unanswered();
        let report = monitor.report();
        assert_eq!((report.quality, report.loss), (Quality::Poor, 0.1));
        assert_eq!(report.suggestions, [Suggestion::Unstable]);
        monitor.reset();
        (0..2).for_each(|_| monitor.unanswered());
        assert_eq!(monitor.report().quality, Quality::Poor);
        monitor.answered(Duration::from_secs(100));
        assert_eq!(monitor.report().latency, Some(Duration::from_millis(65_534)), "slow, but not lost");
    }

    #[test]
    fn old_samples_leave_the_window() {
        let mut monitor = NetworkMonitor::default();
        monitor.answered(Duration::from_secs(9));
        (0..WINDOW).for_each(|_| monitor.answered(Duration::from_millis(20)));
        assert_eq!(monitor.report().latency_max, Some(Duration::from_millis(20)));
    }
}
