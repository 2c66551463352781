//! A bounded flight recorder of inputs and decisions, and its replay.
//!
//! ```text
//! mod.rs      Recorder: the ring that a client keeps while it runs
//! entry.rs    what is noted, one entry per cause or decision
//! redact.rs   what of a message is kept, and how a message is made of it again
//! format.rs   the file: JSON lines behind a header with a version
//! replay.rs   runs a file again and compares
//! why.rs      one short reason for each decision
//! ```
//!
//! # What is in a recording, and what is not
//!
//! Kept: the settings without secrets; commands, inputs and timers that fired; what the client decided. Of each
//! message the head (type, id, sequence, topic, epoch, offset, priority, correlation id) and the length of the payload.
//! **Not kept**: payloads, tokens, keys, the seed, the query of an endpoint, and free text of the server or the
//! application (close reasons, error messages, the words of a token provider). Of the payloads of the protocol's own
//! messages the shape, numbers and truth values are kept, and strings only where they name topics, epochs, versions,
//! actions or error codes. Paths of endpoints, topics, types and ids of messages are no secrets here: do not put any
//! into them.
//!
//! # How a replay comes to the same decisions without those
//!
//! - Pauses, choices and message ids are drawn from a stream of their own ([`crate::rng::Rng`]), so its seed can be
//!   written down without giving away keys.
//! - A frame is recorded as what it was *decoded to*, and the replay hands that to the client in place of the frame. So
//!   an encrypted connection is replayed without its key: the replay agrees on a key with nobody, and what it would
//!   send is sealed with that. What a client sent in an `E:` frame is therefore compared by its place only.
//! - A payload becomes a text of the same length. Lengths of what is sent are shown, but not compared: other bytes
//!   compress to another length.
//! - The replaying client keeps a recording too; the decisions are the same when the two recordings are.
//!
//! # Limits, plainly
//!
//! - Once the ring has dropped entries, the start is gone, and with it the state that decisions rest on: the file says
//!   `truncated`, and a replay tells what happened and why, but checks nothing. Choose [`RecordConfig`] large
//!   enough for what is hunted.
//! - An input that the recorder has no entry for is noted by name; the check ends there, and says so.
//! - Decisions that rest on the bytes of a payload come out otherwise: one that is too large for a frame only because it
//!   does not compress, or one that is not joined to a batch because it nests too deep.
//! - So do decisions that rest on a key: who yields when both ends ask for new keys at once, and whether the other end
//!   took up the new key after it had asked for one.
//! - A setting that the header has no member for is noted as missing (`settings_complete`), and the replay uses its
//!   default.

mod entry;
mod format;
mod redact;
mod replay;
mod why;

pub use entry::{Entry, FrameKind, Head, Heard, Presence, TokenAnswer, What};
pub use format::{FORMAT, Recording, RecordingError, VERSION};
pub use replay::{Divergence, Report, replay};

use std::collections::VecDeque;

use crate::{
    client::{Input, Output},
    config::{ClientConfig, RecordConfig},
    time::{Moment, WallTime},
    wire::{DecodeError, Limits, Message},
};

use format::Header;

/// Keeps the last inputs and decisions of one client. Costs one branch per input while it is off.
#[derive(Debug)]
pub struct Recorder(Option<Box<Ring>>);

#[derive(Debug)]
struct Ring {
    bounds: RecordConfig,
    limits: Limits,
    header: Header,
    entries: VecDeque<Entry>,
    bytes: usize,
    dropped: u64,
    now: Moment,
    /// How many of the client's waiting outputs are noted already.
    noted: usize,
    /// Places in the outputs, each with the type of the message that was to be written there.
    said: VecDeque<(usize, String)>,
    /// In a replay: what the next frame was decoded to.
    retold: Option<Result<Message, DecodeError>>,
}

impl Recorder {
    /// A recorder for a client with this configuration; off unless `diagnostics.record` is set.
    pub(crate) fn new(config: &ClientConfig, choices_seed: [u8; 32], now: Moment, wall: WallTime) -> Self {
        Self(config.diagnostics.record.filter(|_| !cfg!(target_family = "wasm")).map(|bounds| {
            Box::new(Ring {
                bounds,
                limits: config.limits,
                header: Header::new(config, choices_seed, now, wall),
                entries: VecDeque::new(),
                bytes: 0,
                dropped: 0,
                now,
                noted: 0,
                said: VecDeque::new(),
                retold: None,
            })
        }))
    }

    /// Whether anything is kept.
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a command. `outputs` are those that wait to be polled, here and below.
    pub(crate) fn note(&mut self, now: Moment, outputs: &VecDeque<Output>, what: impl FnOnce() -> What) {
        let Some(ring) = self.ring() else { return };
        ring.catch_up(outputs);
        ring.now = now;
        ring.push(what());
    }

    /// Notes a command that takes no time along: it counts as given at the moment of the last one.
    pub(crate) fn note_timeless(&mut self, outputs: &VecDeque<Output>, what: impl FnOnce() -> What) {
        let Some(ring) = self.ring() else { return };
        ring.catch_up(outputs);
        ring.push(what());
    }

    /// The ring, if there is one. In the browser nothing can ask for a recording yet, and the code of it would be a
    /// tenth of what a page downloads.
    fn ring(&mut self) -> Option<&mut Ring> {
        if cfg!(target_family = "wasm") { None } else { self.0.as_deref_mut() }
    }

    /// Notes an input.
    pub(crate) fn heard(&mut self, input: &Input, now: Moment, outputs: &VecDeque<Output>) {
        self.note(now, outputs, || What::of_input(input));
    }

    /// Notes a timer that fired.
    pub(crate) fn fired(&mut self, timer: &impl std::fmt::Debug, now: Moment, outputs: &VecDeque<Output>) {
        self.note(now, outputs, || What::Timer { name: entry::variant_name(timer) });
    }

    /// Notes the answer to a command when it is a refusal.
    pub(crate) fn refused(&mut self, code: Option<crate::error::Code>, outputs: &VecDeque<Output>) {
        if let (Some(ring), Some(code)) = (self.ring(), code) {
            ring.catch_up(outputs);
            ring.push(What::Refused { code: code.as_str().to_owned() });
        }
    }

    /// Notes the type of the message that is written next, which a sealed frame does not show.
    pub(crate) fn says(&mut self, kind: &str, outputs: &VecDeque<Output>) {
        let Some(ring) = self.ring() else { return };
        ring.catch_up(outputs);
        ring.said.push_back((outputs.len(), kind.to_owned()));
    }

    /// Decodes a frame by `decode` and notes what came of it; a replay gives what was recorded instead.
    pub(crate) fn decoded(
        &mut self,
        decode: impl FnOnce() -> Result<Message, DecodeError>,
    ) -> Result<Message, DecodeError> {
        let Some(ring) = self.ring() else { return decode() };
        let result = ring.retold.take().unwrap_or_else(decode);
        ring.note_heard(Heard::of(&result));
        result
    }

    /// Notes outputs before one of them is taken out.
    pub(crate) fn polled(&mut self, outputs: &VecDeque<Output>) {
        if let Some(ring) = self.ring() {
            ring.catch_up(outputs);
            ring.noted = outputs.len().saturating_sub(1);
        }
    }

    /// What the next frame is decoded to, in a replay.
    fn retell(&mut self, result: Option<Result<Message, DecodeError>>) {
        if let Some(ring) = self.ring() {
            ring.retold = result;
        }
    }

    /// The recording so far, `outputs` included.
    pub(crate) fn recording(&self, outputs: &VecDeque<Output>) -> Option<Recording> {
        let ring = self.0.as_ref()?;
        let mut entries: Vec<Entry> = ring.entries.iter().cloned().collect();
        entries.extend(ring.fresh(outputs));
        Some(Recording { header: Header { truncated: ring.dropped, ..ring.header.clone() }, entries })
    }
}

impl Ring {
    fn push(&mut self, what: What) {
        self.keep(Entry { at: self.now.as_millis(), what });
    }

    fn keep(&mut self, entry: Entry) {
        // A wake that changed nothing tells nothing, and timers make many.
        if entry.what.is_cause()
            && self.entries.back().is_some_and(|last| last.what == What::Woke)
            && let Some(last) = self.entries.pop_back()
        {
            self.bytes -= last.size();
        }
        self.bytes += entry.size();
        self.entries.push_back(entry);
        while self.entries.len() > self.bounds.max_entries || self.bytes > self.bounds.max_bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.size();
            self.dropped += 1;
        }
    }

    fn catch_up(&mut self, outputs: &VecDeque<Output>) {
        for entry in self.fresh(outputs) {
            self.keep(entry);
        }
        self.noted = outputs.len();
        self.said.clear();
    }

    /// Entries of the outputs that are not noted yet.
    fn fresh(&self, outputs: &VecDeque<Output>) -> Vec<Entry> {
        let said = |place| self.said.iter().find(|(at, _)| *at == place).map(|(_, kind)| kind.as_str());
        let fresh = outputs.iter().enumerate().skip(self.noted);
        let whats = fresh.filter_map(|(place, output)| What::of_output(output, said(place), &self.limits));
        whats.map(|what| Entry { at: self.now.as_millis(), what }).collect()
    }

    /// Adds to the frame that came last what it was decoded to. Decoding comes first, so no entry is in between.
    fn note_heard(&mut self, result: Heard) {
        let Some(mut entry) = self.entries.pop_back() else { return };
        self.bytes -= entry.size();
        if let What::Frame { heard, .. } = &mut entry.what {
            *heard = Some(result);
        }
        self.keep(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::Client, rng::Seed};

    fn client(bounds: Option<RecordConfig>) -> Client {
        let mut config = ClientConfig::new("ws://a/wse");
        config.diagnostics.record = bounds;
        Client::new(config, Seed::from_u64(1), Moment::ORIGIN, WallTime::from_unix_ms(0)).expect("valid")
    }

    #[test]
    fn a_recorder_that_is_off_keeps_nothing() {
        let mut client = client(None);
        client.connect(Moment::ORIGIN);
        assert!(client.recording().is_none());
    }

    #[test]
    fn both_bounds_hold_and_what_was_dropped_is_counted() {
        let bounds = RecordConfig { max_entries: 10, max_bytes: 1 << 20 };
        let mut few = client(Some(bounds));
        let mut small = client(Some(RecordConfig { max_entries: 1000, max_bytes: 2000 }));
        for n in 0..100 {
            few.reconnect(Moment::from_millis(n));
            small.reconnect(Moment::from_millis(n));
            while !matches!(few.poll(), Output::Wait(_)) {}
            while !matches!(small.poll(), Output::Wait(_)) {}
        }
        let recording = few.recording().expect("on");
        assert_eq!(recording.entries.len(), 10);
        assert!(recording.header.truncated > 100);
        let recording = small.recording().expect("on");
        assert!(recording.entries.iter().map(Entry::size).sum::<usize>() <= 2000);
        assert!(!recording.entries.is_empty() && recording.header.truncated > 0);
    }

    #[test]
    fn outputs_are_noted_once_whether_polled_or_not() {
        let mut client = client(Some(RecordConfig::default()));
        client.connect(Moment::ORIGIN);
        let before = client.recording().expect("on").entries;
        assert!(matches!(before.last().expect("entries").what, What::Open { .. }));
        while !matches!(client.poll(), Output::Wait(_)) {}
        assert_eq!(client.recording().expect("on").entries, before);
    }

    #[test]
    fn wakes_that_change_nothing_are_not_kept() {
        let mut client = client(Some(RecordConfig::default()));
        client.connect(Moment::ORIGIN);
        let before = client.recording().expect("on").entries.len();
        for n in 0..50 {
            client.handle(Input::Wake, Moment::from_millis(n));
        }
        assert_eq!(client.recording().expect("on").entries.len(), before + 1);
    }
}
