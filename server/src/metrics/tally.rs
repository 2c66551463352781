//! What a connection counts in local numbers before it adds it to the [`Metrics`].

use wse_client_core::{io::Frame, wire::Priority};

use super::{
    Metrics,
    histogram::{BOUNDS, bucket},
};

/// Messages of one type that come one after the other.
#[derive(Debug, Default)]
pub(crate) struct KindRun {
    kind: String,
    priority: Priority,
    count: usize,
}

impl KindRun {
    /// One message. When its type is not that of the last one, those are given to `add` first.
    pub(crate) fn note(&mut self, kind: &str, priority: Priority, add: impl FnOnce(&str, Priority, usize)) {
        if kind != self.kind || priority != self.priority {
            self.flush(add);
            self.kind.clear();
            self.kind.push_str(kind);
            self.priority = priority;
        }
        self.count += 1;
    }

    /// Gives what was counted to `add`, if there is anything.
    pub(crate) fn flush(&mut self, add: impl FnOnce(&str, Priority, usize)) {
        if self.count > 0 {
            add(&self.kind, self.priority, std::mem::take(&mut self.count));
        }
    }
}

/// Topic messages that a connection takes in one turn, with the time that each waited.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    kind: u16,
    priority: Priority,
    bucket: usize,
    count: u64,
    nanos: u64,
}

impl Deliveries {
    /// One message that waited `nanos`.
    pub(crate) fn note(&mut self, kind: u16, priority: Priority, nanos: u64, metrics: &Metrics) {
        if self.count == 0 || kind != self.kind || priority != self.priority || !in_bucket(self.bucket, nanos) {
            self.flush(metrics);
            (self.kind, self.priority, self.bucket) = (kind, priority, bucket(nanos));
        }
        self.count += 1;
        self.nanos += nanos;
    }

    /// Adds what was counted.
    pub(crate) fn flush(&mut self, metrics: &Metrics) {
        if self.count > 0 {
            metrics.sent(self.kind, self.priority, self.count as usize);
            metrics.waited(self.priority, self.bucket, self.count, self.nanos);
            (self.count, self.nanos) = (0, 0);
        }
    }
}

/// The name and the value of a member that is a string, and what follows it.
fn text_member(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.trim_start().strip_prefix('"')?.split_once('"')?;
    let (value, rest) = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"')?;
    (!value.contains('\\')).then_some((name, value, rest))
}

fn in_bucket(index: usize, nanos: u64) -> bool {
    (index == 0 || nanos > BOUNDS[index - 1]) && BOUNDS.get(index).is_none_or(|bound| nanos <= *bound)
}

/// The first bytes of a frame: enough to tell the type of a control message, which the engine answers by itself.
#[derive(Debug)]
pub(crate) struct Opening {
    bytes: [u8; 64],
    len: usize,
}

impl Opening {
    pub(crate) fn of(frame: &Frame) -> Self {
        let (from, mut bytes) = (frame.bytes(), [0; 64]);
        if let Some(bytes) = from.first_chunk() {
            return Self { bytes: *bytes, len: bytes.len() };
        }
        let len = from.len().min(64);
        bytes[..len].copy_from_slice(&from[..len]);
        Self { bytes, len }
    }

    /// Whether it is one of the server's own messages.
    pub(crate) fn is_control(&self) -> bool {
        self.bytes.starts_with(b"WSE{")
    }

    /// Whether only the receiver can tell what it is.
    pub(crate) fn is_sealed(&self) -> bool {
        self.bytes.starts_with(b"E:")
    }

    /// The type, where it stands in front of a plain JSON envelope.
    pub(crate) fn kind(&self) -> Option<&str> {
        let text = self.bytes[..self.len].utf8_chunks().next()?.valid();
        let text = text.trim_start_matches(['W', 'S', 'E', 'U']).strip_prefix('{')?;
        let (first, kind, rest) = text_member(text)?;
        if matches!(first, "t" | "type") {
            return Some(kind);
        }
        let (second, kind, _) = text_member(rest.trim_start().strip_prefix(',')?)?;
        (first == "c" && matches!(second, "t" | "type")).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &'static str) -> Option<String> {
        Opening::of(&Frame::Text(text.into())).kind().map(str::to_owned)
    }

    #[test]
    fn the_type_is_found_in_plain_envelopes() {
        assert_eq!(kind(r#"WSE{"t":"ping","p":{}}"#).as_deref(), Some("ping"));
        assert_eq!(kind(r#"{"c": "WSE", "t": "PONG"}"#).as_deref(), Some("PONG"));
        assert_eq!(kind(r#"{"type":"ping"}"#).as_deref(), Some("ping"));
        for other in ["E:xxxx", r#"{"p":{"t":"x"}}"#, r#"{"p":"t","t":"a"}"#, r#"{"t":"a\"b"}"#, r#"{"t":"#, "", "ä{"]
        {
            assert_eq!(kind(other), None, "{other}");
        }
    }

    #[test]
    fn runs_end_where_the_type_changes() {
        let mut seen: Vec<(String, usize)> = Vec::new();
        let mut run = KindRun::default();
        for kind in ["a", "a", "b"] {
            run.note(kind, Priority::Normal, |kind, _, count| seen.push((kind.into(), count)));
        }
        run.flush(|kind, _, count| seen.push((kind.into(), count)));
        run.flush(|_, _, _| unreachable!("there is nothing left"));
        assert_eq!(seen, [("a".into(), 2), ("b".into(), 1)]);
    }

    #[test]
    fn deliveries_keep_types_and_times_apart() {
        let (metrics, mut deliveries) = (Metrics::default(), Deliveries::default());
        let (a, b) = (metrics.kind("a"), metrics.kind("b"));
        for (kind, nanos) in [(a, 10), (a, 20), (a, 2_000), (b, 2_000), (b, u64::MAX / 2)] {
            deliveries.note(kind, Priority::Low, nanos, &metrics);
        }
        deliveries.flush(&metrics);
        assert_eq!(metrics.sum(|shard| shard.sent.at(a, Priority::Low).read()), 3);
        assert_eq!(metrics.sum(|shard| shard.sent.at(b, Priority::Low).read()), 2);
        let times = metrics.times(|shard| &shard.latency[Priority::Low as usize]);
        assert_eq!((times.buckets[0], times.buckets[1], times.buckets[20]), (2, 2, 1));
    }
}
