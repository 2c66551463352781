//! Where a client stands in each recoverable topic: what it has seen, what it misses, and what is lost.
//!
//! A publication of a recoverable topic carries an epoch (one life of the topic's history) and an offset that counts
//! from 0 within it. Source: PROTOCOL.md §6.6.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::time::Moment;

/// Pause before a gap is asked about for the second time; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// Times a gap is asked about before it is given up as lost.
const MAX_ASKED: u32 = 5;

/// Longest epoch that is tracked, in bytes. Servers write 8 to 16.
const MAX_EPOCH: usize = 64;

/// The last publication seen: what a client tells the server so that it can go on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The life of the topic's history.
    pub epoch: String,
    /// Offset of the last publication seen; `None`: none yet, the next one is 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<u64>,
}

/// A server's answer about one topic.
///
/// `count` publications follow, up to and including `offset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct TopicRecovery {
    /// The present life of the history; `None`: the server keeps none for this topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Offset of the last publication written; `None`: there is none in this epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Whether everything after the client's position is there. Missing means true, as published clients read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
    /// How many publications follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// Publications of one epoch that will never come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRange {
    /// The epoch.
    pub epoch: String,
    /// The first one missing.
    pub from: u64,
    /// The last one missing; `None`: the epoch is over, and how far it went is not known.
    pub to: Option<u64>,
}

impl LostRange {
    /// How many; `None` when that is not known.
    pub fn count(&self) -> Option<u64> {
        self.to.map(|to| (to - self.from).saturating_add(1))
    }
}

/// What to do with a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one, or the first one seen.
    Deliver,
    /// It was seen before.
    Duplicate,
    /// Others before it are missing: drop it, it comes again with them. `ask` is true when the server is to be
    /// asked now, with [`Positions::position`].
    Gap {
        /// The gap is new.
        ask: bool,
    },
    /// A new epoch began: deliver it. What was left of the old one, and what the new one had before it, is lost.
    NewEpoch(Vec<LostRange>),
}

/// How the recovery of a topic ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Publications that follow and were missed.
    pub count: u64,
    /// What will never come. Empty: all was recovered.
    pub lost: Vec<LostRange>,
}

/// What the clock brought for the gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overdue {
    /// Ask the server again about this topic.
    Ask(String),
    /// Asked often enough: this is lost, and the topic goes on.
    GivenUp(String, LostRange),
}

#[derive(Debug)]
struct Track {
    epoch: String,
    next: u64,
    used: u64,
    /// What is missing after `next`, and was asked about.
    gap: Option<Gap>,
}

#[derive(Debug)]
struct Gap {
    /// The highest offset that was dropped because of it.
    ahead: u64,
    asked: u32,
    again_at: Moment,
}

/// Positions by topic, at most `capacity` of them: those not used for longest are forgotten first.
#[derive(Debug)]
pub struct Positions {
    capacity: usize,
    clock: u64,
    tracks: BTreeMap<String, Track>,
}

impl Positions {
    /// Topics tracked by default.
    pub const DEFAULT_CAPACITY: usize = 2000;

    /// No positions yet.
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, clock: 0, tracks: BTreeMap::new() }
    }

    /// Judges a publication, and moves the position when it is to be delivered.
    pub fn check(&mut self, topic: &str, epoch: &str, offset: u64, now: Moment) -> Verdict {
        self.clock += 1;
        let clock = self.clock;
        let Some(track) = self.tracks.get_mut(topic) else {
            self.track(topic, epoch, offset.saturating_add(1));
            return Verdict::Deliver;
        };
        track.used = clock;
        if track.epoch != epoch {
            let lost = jump(track, epoch, offset);
            track.next = offset.saturating_add(1);
            track.gap = None;
            return Verdict::NewEpoch(lost);
        }
        if offset < track.next {
            return Verdict::Duplicate;
        }
        if offset == track.next {
            track.next = offset.saturating_add(1);
            track.note_progress(offset);
            return Verdict::Deliver;
        }
        Verdict::Gap { ask: track.note_gap(offset, now) }
    }

    /// Takes the server's answer about a topic. `None` when there is nothing to tell: the topic was not known, or
    /// nothing was missed.
    pub fn answer(&mut self, topic: &str, answer: &TopicRecovery) -> Option<Outcome> {
        let epoch = answer.epoch.as_deref()?;
        let head = answer.offset.map_or(0, |offset| offset.saturating_add(1));
        let first = head.saturating_sub(answer.count.unwrap_or(0));
        let recovered = answer.recovered.unwrap_or(true);
        let Some(track) = self.tracks.get_mut(topic) else {
            self.track(topic, epoch, first);
            return None;
        };
        if track.epoch != epoch {
            track.gap = None;
            let lost = jump(track, epoch, first);
            track.next = first;
            return Some(Outcome { count: head - first, lost });
        }
        let missed = track.next;
        if recovered || first <= missed {
            // An answer without a count says that all is well, and the replay shows it.
            return (head > missed).then(|| Outcome { count: head - missed, lost: Vec::new() });
        }
        track.next = first;
        track.gap = None;
        let lost = LostRange { epoch: epoch.to_owned(), from: missed, to: Some(first - 1) };
        Some(Outcome { count: head - first, lost: vec![lost] })
    }

    /// The server dropped publications up to and including `to`, and said so. Gives what of them was not seen.
    pub fn skip(&mut self, topic: &str, epoch: &str, to: u64) -> Option<LostRange> {
        let track = self.tracks.get_mut(topic).filter(|track| track.epoch == epoch && track.next <= to)?;
        let from = std::mem::replace(&mut track.next, to.saturating_add(1));
        track.gap.take_if(|gap| gap.ahead <= to);
        Some(LostRange { epoch: epoch.to_owned(), from, to: Some(to) })
    }

    /// What to do about gaps whose time has come; call until it answers `None`.
    pub fn overdue(&mut self, now: Moment) -> Option<Overdue> {
        let mut gaps = self.tracks.iter_mut().filter_map(|(topic, track)| Some((topic, track.gap.as_mut()?)));
        let (topic, gap) = gaps.find(|(_, gap)| gap.again_at <= now)?;
        let topic = topic.clone();
        if gap.asked < MAX_ASKED {
            gap.again_at = now + FIRST_PAUSE * 2_u32.pow(gap.asked);
            gap.asked += 1;
            return Some(Overdue::Ask(topic));
        }
        let ahead = gap.ahead;
        let track = self.tracks.get_mut(&topic)?;
        track.gap = None;
        let epoch = track.epoch.clone();
        let lost = self.skip(&topic, &epoch, ahead)?;
        Some(Overdue::GivenUp(topic, lost))
    }

    /// When [`Positions::overdue`] has something to do.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.tracks.values().filter_map(|track| Some(track.gap.as_ref()?.again_at)).min()
    }

    /// Forgets gaps: the connection is over, and the next one starts with a question about everything.
    pub fn disconnected(&mut self) {
        for track in self.tracks.values_mut() {
            track.gap = None;
        }
    }

    /// Whether a topic is tracked.
    pub fn knows(&self, topic: &str) -> bool {
        self.tracks.contains_key(topic)
    }

    /// The position in a topic.
    pub fn position(&self, topic: &str) -> Option<Position> {
        self.tracks.get(topic).map(Track::position)
    }

    /// All positions, by topic.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Position)> {
        self.tracks.iter().map(|(topic, track)| (topic.as_str(), track.position()))
    }

    /// Forgets the topics for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.tracks.retain(|topic, _| keep(topic));
    }

    fn track(&mut self, topic: &str, epoch: &str, next: u64) {
        if self.capacity == 0 || epoch.len() > MAX_EPOCH {
            return;
        }
        if self.tracks.len() >= self.capacity {
            self.make_room();
        }
        self.tracks.insert(topic.to_owned(), Track { epoch: epoch.to_owned(), next, used: self.clock, gap: None });
    }

    /// Forgets the eighth that was not used for longest: room for many at once.
    fn make_room(&mut self) {
        let go_by = |bound| self.tracks.values().filter(|track| track.used <= bound).count();
        // The earliest bound by which enough of them go.
        let (mut earliest, mut latest) = (0, self.clock);
        while earliest < latest {
            let middle = earliest + (latest - earliest) / 2;
            if go_by(middle) > self.capacity / 8 {
                latest = middle;
            } else {
                earliest = middle + 1;
            }
        }
        self.tracks.retain(|_, track| track.used > latest);
    }
}

impl Track {
    /// Closes a gap that is filled, and has patience with one that fills.
    fn note_progress(&mut self, offset: u64) {
        if let Some(gap) = &mut self.gap {
            gap.asked = 1;
        }
        self.gap.take_if(|gap| gap.ahead <= offset);
    }

    /// Whether the gap is new.
    fn note_gap(&mut self, offset: u64, now: Moment) -> bool {
        if let Some(gap) = &mut self.gap {
            gap.ahead = gap.ahead.max(offset);
            return false;
        }
        self.gap = Some(Gap { ahead: offset, asked: 1, again_at: now + FIRST_PAUSE });
        true
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), offset: self.next.checked_sub(1) }
    }
}

/// Goes over to another epoch, of which `first` is the first publication that comes. Gives what is lost by it.
fn jump(track: &mut Track, epoch: &str, first: u64) -> Vec<LostRange> {
    let old = std::mem::replace(&mut track.epoch, epoch.to_owned());
    let mut lost = vec![LostRange { epoch: old, from: track.next, to: None }];
    if let Some(last) = first.checked_sub(1) {
        lost.push(LostRange { epoch: epoch.to_owned(), from: 0, to: Some(last) });
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::ORIGIN;

    fn at(offset: u64) -> Positions {
        let mut positions = Positions::new(10);
        assert_eq!(positions.check("t", "a", offset, NOW), Verdict::Deliver);
        positions
    }

    fn answer(epoch: &str, offset: u64, recovered: bool, count: u64) -> TopicRecovery {
        TopicRecovery {
            epoch: Some(epoch.into()),
            offset: Some(offset),
            recovered: Some(recovered),
            count: Some(count),
        }
    }

    fn lost(epoch: &str, from: u64, to: Option<u64>) -> LostRange {
        LostRange { epoch: epoch.into(), from, to }
    }

    #[test]
    fn each_publication_counts_once_and_in_order() {
        let mut positions = at(4);
        assert_eq!(positions.check("t", "a", 4, NOW), Verdict::Duplicate);
        assert_eq!(positions.check("t", "a", 5, NOW), Verdict::Deliver);
        assert_eq!(positions.check("t", "a", 7, NOW), Verdict::Gap { ask: true });
        assert_eq!(positions.check("t", "a", 8, NOW), Verdict::Gap { ask: false });
        assert_eq!(positions.position("t"), Some(Position { epoch: "a".into(), offset: Some(5) }));
        for offset in 6..=8 {
            assert_eq!(positions.check("t", "a", offset, NOW), Verdict::Deliver);
        }
        assert_eq!(positions.next_deadline(), None, "the gap is filled");
    }

    #[test]
    fn a_gap_is_asked_about_with_patience_and_given_up_in_the_end() {
        let mut positions = at(0);
        assert_eq!(positions.check("t", "a", 3, NOW), Verdict::Gap { ask: true });
        let mut asked = 1;
        let mut end = None;
        for _ in 0..20 {
            let Some(deadline) = positions.next_deadline() else { break };
            match positions.overdue(deadline) {
                Some(Overdue::Ask(topic)) => {
                    assert_eq!(topic, "t");
                    asked += 1;
                }
                other => end = other,
            }
        }
        assert_eq!(asked, MAX_ASKED);
        assert_eq!(end, Some(Overdue::GivenUp("t".into(), lost("a", 1, Some(3)))));
        assert_eq!(positions.check("t", "a", 4, NOW), Verdict::Deliver);
    }

    #[test]
    fn the_first_answer_only_sets_the_position() {
        let mut positions = Positions::new(10);
        assert_eq!(positions.answer("t", &answer("a", 9, true, 0)), None);
        assert_eq!(positions.check("t", "a", 11, NOW), Verdict::Gap { ask: true });
        let empty = TopicRecovery { epoch: Some("a".into()), ..TopicRecovery::default() };
        assert_eq!(positions.answer("u", &empty), None);
        assert_eq!(positions.position("u"), Some(Position { epoch: "a".into(), offset: None }));
        assert_eq!(positions.check("u", "a", 0, NOW), Verdict::Deliver);
    }

    #[test]
    fn answers_tell_what_was_recovered_and_what_is_lost() {
        let recovered = at(4).answer("t", &answer("a", 9, true, 5));
        assert_eq!(recovered, Some(Outcome { count: 5, lost: vec![] }));
        assert_eq!(at(4).answer("t", &answer("a", 4, true, 0)), None, "nothing was missed");

        let mut partial = at(4);
        let outcome = partial.answer("t", &answer("a", 9, false, 2));
        assert_eq!(outcome, Some(Outcome { count: 2, lost: vec![lost("a", 5, Some(7))] }));
        assert_eq!(partial.check("t", "a", 8, NOW), Verdict::Deliver);

        let outcome = at(4).answer("t", &answer("a", 9, false, 0));
        assert_eq!(outcome, Some(Outcome { count: 0, lost: vec![lost("a", 5, Some(9))] }));

        let mut renewed = at(4);
        let outcome = renewed.answer("t", &answer("b", 6, false, 3));
        let expected = vec![lost("a", 5, None), lost("b", 0, Some(3))];
        assert_eq!(outcome, Some(Outcome { count: 3, lost: expected }));
        assert_eq!(renewed.check("t", "b", 4, NOW), Verdict::Deliver);
    }

    #[test]
    fn a_new_epoch_in_the_stream_is_a_new_start() {
        let mut positions = at(4);
        assert_eq!(positions.check("t", "b", 0, NOW), Verdict::NewEpoch(vec![lost("a", 5, None)]));
        assert_eq!(positions.check("t", "b", 1, NOW), Verdict::Deliver);
    }

    #[test]
    fn what_the_server_dropped_is_skipped_once() {
        let mut positions = at(4);
        assert_eq!(positions.skip("t", "a", 7), Some(lost("a", 5, Some(7))));
        assert_eq!(positions.skip("t", "a", 7), None);
        assert_eq!(positions.skip("t", "b", 9), None);
        assert_eq!(positions.check("t", "a", 8, NOW), Verdict::Deliver);
    }

    #[test]
    fn memory_is_bounded_and_offsets_do_not_overflow() {
        let mut positions = Positions::new(3);
        for number in 0..10 {
            positions.check(&format!("t{number}"), "a", 0, NOW);
        }
        assert_eq!(positions.iter().count(), 3);
        assert!(positions.knows("t9") && !positions.knows("t0"));
        let mut positions = at(u64::MAX);
        assert_eq!(
            positions.check("t", "b", u64::MAX, NOW),
            Verdict::NewEpoch(vec![lost("a", u64::MAX, None), lost("b", 0, Some(u64::MAX - 1)),])
        );
        assert_eq!(lost("a", 0, Some(u64::MAX)).count(), Some(u64::MAX));
        positions.check("t", &"e".repeat(100), 1, NOW);
    }
}
