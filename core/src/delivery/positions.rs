//! Where a client stands in each recoverable topic: what it has seen, what it misses, and what is lost.
//!
//! A publication of a recoverable topic carries an epoch (one life of the topic's history) and an offset that counts
//! from 0 within it. Source: PROTOCOL.md §6.6.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::time::Moment;

/// Pause before a gap is asked about for the second time; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// Times a gap is asked about before it is given up as lost.
const MAX_ASKED: u32 = 5;

/// Epochs that ended on a connection and are remembered, for each topic.
const MAX_FORMER: usize = 4;

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
    /// How many; `None` when that is not known. None at all when the last comes before the first.
    pub fn count(&self) -> Option<u64> {
        self.to.map(|to| to.checked_sub(self.from).map_or(0, |further| further.saturating_add(1)))
    }
}

/// What to do with a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one, or the first one seen.
    Deliver,
    /// The same, and it is one of those that were missing.
    Recovered,
    /// It was seen before.
    Duplicate,
    /// Others before it are missing: drop it, it comes again with them. `ask` is true when the server is to be
    /// asked now, with [`Positions::position`].
    Gap {
        /// The gap is new.
        ask: bool,
    },
    /// A new epoch began, and what was left of the old one is lost.
    NewEpoch {
        /// The rest of the old one.
        lost: LostRange,
        /// The new one begins with this publication: deliver it. Else drop it, and ask for what comes before it.
        is_first: bool,
    },
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
    /// The last epochs that ended on this connection. Their rest was told to be lost: whatever of it was still under
    /// way is too late. On another connection one can be the right one again, where servers share no history.
    former: VecDeque<String>,
    next: u64,
    used: u64,
}

/// Publications that are known to exist and have not been delivered.
#[derive(Debug)]
struct Gap {
    /// The last of them.
    end: u64,
    /// The lowest that came since the last question. It was dropped, as others before it are missing.
    lowest: Option<u64>,
    /// The last one of the replay that answers the question.
    replay_end: Option<u64>,
    /// The application knows of the recovery.
    told: bool,
    asked: u32,
    again_at: Moment,
}

/// Positions by topic, at most `capacity` of them: those not used for longest are forgotten first.
#[derive(Debug)]
pub struct Positions {
    capacity: usize,
    clock: u64,
    tracks: BTreeMap<String, Track>,
    gaps: BTreeMap<String, Gap>,
    forgotten: u64,
}

impl Positions {
    /// Topics tracked by default.
    pub const DEFAULT_CAPACITY: usize = 2000;

    /// No positions yet.
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, clock: 0, tracks: BTreeMap::new(), gaps: BTreeMap::new(), forgotten: 0 }
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
            if track.is_over(epoch) {
                return Verdict::Duplicate;
            }
            let lost = track.begin(epoch);
            let is_first = offset == 0;
            track.next = u64::from(is_first);
            self.gaps.remove(topic);
            if !is_first {
                self.note_gap(topic, offset, now);
            }
            return Verdict::NewEpoch { lost, is_first };
        }
        if offset < track.next {
            return Verdict::Duplicate;
        }
        if offset == track.next {
            track.next = offset.saturating_add(1);
            return if self.note_progress(topic, offset, now) { Verdict::Recovered } else { Verdict::Deliver };
        }
        Verdict::Gap { ask: self.note_gap(topic, offset, now) }
    }

    /// Takes the server's answer about a topic. `None` when there is nothing to tell: the topic was not known,
    /// nothing was missed, or the same was told before.
    ///
    /// What the answer promises is watched like any other gap until it has come.
    pub fn answer(&mut self, topic: &str, answer: &TopicRecovery, now: Moment) -> Option<Outcome> {
        self.clock += 1;
        let epoch = answer.epoch.as_deref()?;
        let head = answer.offset.map_or(0, |offset| offset.saturating_add(1));
        let first = head.saturating_sub(answer.count.unwrap_or(0));
        let recovered = answer.recovered.unwrap_or(true);
        let Some(track) = self.tracks.get_mut(topic) else {
            self.track(topic, epoch, first);
            self.await_replay(topic, head, now);
            return None;
        };
        track.used = self.clock;
        if track.is_over(epoch) {
            return None;
        }
        let missed = track.next;
        if track.epoch == epoch && (recovered || first <= missed) {
            // An answer without a count says that all is well, and the replay shows it.
            let fresh = self.await_replay(topic, head, now);
            return fresh.then(|| Outcome { count: head - missed, lost: Vec::new() });
        }
        let lost = if track.epoch == epoch {
            vec![LostRange { epoch: epoch.to_owned(), from: missed, to: Some(first - 1) }]
        } else {
            jump(track, epoch, first)
        };
        track.next = first;
        self.gaps.remove(topic);
        self.await_replay(topic, head, now);
        Some(Outcome { count: head - first, lost })
    }

    /// The server dropped publications and named them. Gives what of them was not seen.
    pub fn skip(&mut self, topic: &str, dropped: LostRange) -> Vec<LostRange> {
        self.clock += 1;
        let Some(to) = dropped.to else { return vec![dropped] };
        let next = to.saturating_add(1);
        let Some(track) = self.tracks.get_mut(topic) else {
            self.track(topic, &dropped.epoch, next);
            return vec![dropped];
        };
        if track.is_over(&dropped.epoch) {
            return Vec::new();
        }
        if track.epoch != dropped.epoch {
            self.gaps.remove(topic);
            let lost = jump(track, &dropped.epoch, next);
            track.next = next;
            return lost;
        }
        if track.next > to {
            return Vec::new();
        }
        let from = std::mem::replace(&mut track.next, next);
        self.pass(topic, to);
        vec![LostRange { from, ..dropped }]
    }

    /// Whether something that comes before `offset` of this epoch was not seen.
    pub fn misses_before(&self, topic: &str, epoch: &str, offset: u64) -> bool {
        self.tracks.get(topic).is_some_and(|track| {
            let next = if track.epoch == epoch { track.next } else { 0 };
            next < offset && !track.is_over(epoch)
        })
    }

    /// What to do about gaps whose time has come; call until it answers `None`.
    pub fn overdue(&mut self, now: Moment) -> Option<Overdue> {
        let (topic, gap) = self.gaps.iter_mut().find(|(_, gap)| gap.again_at <= now)?;
        let topic = topic.clone();
        if gap.asked < MAX_ASKED {
            gap.again_at = now + FIRST_PAUSE * 2_u32.pow(gap.asked);
            gap.asked += 1;
            gap.lowest = None;
            gap.replay_end = None;
            return Some(Overdue::Ask(topic));
        }
        // What came after the last question is there: only what is before it is lost, and the rest is asked for anew.
        let to = gap.lowest.take().map_or(gap.end, |lowest| lowest - 1);
        gap.asked = 0;
        gap.replay_end = None;
        let epoch = self.tracks.get(&topic)?.epoch.clone();
        let lost = self.skip(&topic, LostRange { epoch, from: 0, to: Some(to) }).pop()?;
        Some(Overdue::GivenUp(topic, lost))
    }

    /// When [`Positions::overdue`] has something to do.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.gaps.values().map(|gap| gap.again_at).min()
    }

    /// Forgets gaps: the connection is over, and the next one starts with a question about everything.
    pub fn disconnected(&mut self) {
        self.gaps.clear();
        for track in self.tracks.values_mut() {
            track.former.clear();
        }
    }

    /// Positions that were forgotten to make room: what is missed there afterwards goes unnoticed.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
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

    /// Topics tracked, and gaps among them.
    pub fn held(&self) -> (usize, usize) {
        (self.tracks.len(), self.gaps.len())
    }

    /// Forgets the topics for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.tracks.retain(|topic, _| keep(topic));
        self.gaps.retain(|topic, _| self.tracks.contains_key(topic));
    }

    fn track(&mut self, topic: &str, epoch: &str, next: u64) {
        if self.capacity == 0 || epoch.len() > MAX_EPOCH {
            return;
        }
        if self.tracks.len() >= self.capacity {
            self.make_room();
        }
        self.tracks.insert(
            topic.to_owned(),
            Track { epoch: epoch.to_owned(), former: VecDeque::new(), next, used: self.clock },
        );
    }

    /// Forgets the eighth that was not used for longest: room for many at once.
    fn make_room(&mut self) {
        let before = self.tracks.len();
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
        self.forgotten += (before - self.tracks.len()) as u64;
        self.gaps.retain(|topic, _| self.tracks.contains_key(topic));
    }

    /// Has patience with a gap that fills. False when there is none.
    fn note_progress(&mut self, topic: &str, offset: u64, now: Moment) -> bool {
        let Some(gap) = self.gaps.get_mut(topic) else { return false };
        gap.asked = 1;
        gap.again_at = now + FIRST_PAUSE;
        self.pass(topic, offset);
        true
    }

    /// Everything up to `offset` is settled.
    fn pass(&mut self, topic: &str, offset: u64) {
        let Some(gap) = self.gaps.get_mut(topic) else { return };
        gap.lowest = gap.lowest.filter(|lowest| *lowest > offset);
        if gap.end <= offset {
            self.gaps.remove(topic);
        }
    }

    /// Notes a publication that came before its turn. True when the server is to be asked now.
    fn note_gap(&mut self, topic: &str, offset: u64, now: Moment) -> bool {
        let Some(gap) = self.gaps.get_mut(topic) else {
            let lowest = Some(offset);
            let again_at = now + FIRST_PAUSE;
            self.gaps.insert(
                topic.to_owned(),
                Gap { end: offset, lowest, replay_end: None, told: false, asked: 1, again_at },
            );
            return true;
        };
        gap.end = gap.end.max(offset);
        gap.lowest = Some(gap.lowest.map_or(offset, |lowest| lowest.min(offset)));
        if gap.replay_end == Some(offset) {
            // The replay is over, and what is missing was not in it: asking again would bring the same.
            gap.asked = MAX_ASKED;
            gap.again_at = now;
        }
        false
    }

    /// A replay up to `head` (exclusive) is on its way. True when something was missed that was not known before.
    fn await_replay(&mut self, topic: &str, head: u64, now: Moment) -> bool {
        let Some(end) = head.checked_sub(1) else { return false };
        if self.tracks.get(topic).is_none_or(|track| track.next > end) {
            return false;
        }
        let again_at = now + FIRST_PAUSE;
        let fresh = Gap { end, lowest: None, replay_end: None, told: false, asked: 1, again_at };
        let gap = self.gaps.entry(topic.to_owned()).or_insert(fresh);
        gap.end = gap.end.max(end);
        gap.replay_end = Some(end);
        gap.again_at = gap.again_at.max(again_at);
        !std::mem::replace(&mut gap.told, true)
    }
}

impl Track {
    /// Whether an epoch ended on this connection.
    fn is_over(&self, epoch: &str) -> bool {
        self.former.iter().any(|former| former == epoch)
    }

    /// Goes over to another epoch. Gives what is left of the old one.
    fn begin(&mut self, epoch: &str) -> LostRange {
        let old = std::mem::replace(&mut self.epoch, epoch.to_owned());
        if self.former.len() == MAX_FORMER {
            self.former.pop_front();
        }
        self.former.push_back(old.clone());
        LostRange { epoch: old, from: self.next, to: None }
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), offset: self.next.checked_sub(1) }
    }
}

/// Goes over to another epoch, of which `first` is the first publication that comes. Gives what is lost by it.
fn jump(track: &mut Track, epoch: &str, first: u64) -> Vec<LostRange> {
    let mut lost = vec![track.begin(epoch)];
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
            assert_eq!(positions.check("t", "a", offset, NOW), Verdict::Recovered);
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
    fn only_what_is_missing_is_given_up() {
        let mut positions = at(0);
        assert_eq!(positions.check("t", "a", 2, NOW), Verdict::Gap { ask: true });
        positions.check("t", "a", 3, NOW);
        // The answer promises 1 to 3, and 1 does not come: with 3 the replay is over.
        positions.answer("t", &answer("a", 3, true, 3), NOW);
        positions.check("t", "a", 2, NOW);
        assert_eq!(positions.overdue(NOW), None, "the replay goes on");
        positions.check("t", "a", 3, NOW);
        assert_eq!(positions.overdue(NOW), Some(Overdue::GivenUp("t".into(), lost("a", 1, Some(1)))));
        assert_eq!(positions.overdue(NOW), Some(Overdue::Ask("t".into())), "for what came behind it");
        assert_eq!(positions.overdue(NOW), None);
        assert_eq!(positions.answer("t", &answer("a", 3, true, 2), NOW), None, "told already");
        for offset in 2..=3 {
            assert_eq!(positions.check("t", "a", offset, NOW), Verdict::Recovered);
        }
        assert_eq!(positions.next_deadline(), None);
        assert_eq!(positions.check("t", "a", 4, NOW), Verdict::Deliver);
    }

    #[test]
    fn a_promise_is_watched_and_told_once() {
        let mut positions = at(0);
        let promise = answer("a", 3, true, 3);
        assert_eq!(positions.answer("t", &promise, NOW), Some(Outcome { count: 3, lost: vec![] }));
        assert_eq!(positions.answer("t", &promise, NOW), None, "the same once more");
        assert_eq!(positions.check("t", "a", 1, NOW), Verdict::Recovered);
        let mut end = None;
        while let Some(deadline) = positions.next_deadline() {
            end = positions.overdue(deadline);
        }
        assert_eq!(end, Some(Overdue::GivenUp("t".into(), lost("a", 2, Some(3)))));
    }

    #[test]
    fn the_first_answer_only_sets_the_position() {
        let mut positions = Positions::new(10);
        assert_eq!(positions.answer("t", &answer("a", 9, true, 0), NOW), None);
        assert_eq!(positions.check("t", "a", 11, NOW), Verdict::Gap { ask: true });
        let empty = TopicRecovery { epoch: Some("a".into()), ..TopicRecovery::default() };
        assert_eq!(positions.answer("u", &empty, NOW), None);
        assert_eq!(positions.position("u"), Some(Position { epoch: "a".into(), offset: None }));
        assert_eq!(positions.check("u", "a", 0, NOW), Verdict::Deliver);
    }

    #[test]
    fn answers_tell_what_was_recovered_and_what_is_lost() {
        let recovered = at(4).answer("t", &answer("a", 9, true, 5), NOW);
        assert_eq!(recovered, Some(Outcome { count: 5, lost: vec![] }));
        assert_eq!(at(4).answer("t", &answer("a", 4, true, 0), NOW), None, "nothing was missed");

        let mut partial = at(4);
        let outcome = partial.answer("t", &answer("a", 9, false, 2), NOW);
        assert_eq!(outcome, Some(Outcome { count: 2, lost: vec![lost("a", 5, Some(7))] }));
        assert_eq!(partial.check("t", "a", 8, NOW), Verdict::Recovered);

        let outcome = at(4).answer("t", &answer("a", 9, false, 0), NOW);
        assert_eq!(outcome, Some(Outcome { count: 0, lost: vec![lost("a", 5, Some(9))] }));

        let mut renewed = at(4);
        let outcome = renewed.answer("t", &answer("b", 6, false, 3), NOW);
        let expected = vec![lost("a", 5, None), lost("b", 0, Some(3))];
        assert_eq!(outcome, Some(Outcome { count: 3, lost: expected }));
        assert_eq!(renewed.check("t", "b", 4, NOW), Verdict::Recovered);
    }

    #[test]
    fn a_new_epoch_in_the_stream_is_a_new_start() {
        let mut positions = at(4);
        assert_eq!(positions.check("t", "b", 0, NOW), Verdict::NewEpoch { lost: lost("a", 5, None), is_first: true });
        assert_eq!(positions.check("t", "b", 1, NOW), Verdict::Deliver);
    }

    #[test]
    fn what_is_late_of_an_epoch_that_is_over_changes_nothing() {
        let mut positions = at(4);
        positions.check("t", "b", 0, NOW);
        assert_eq!(positions.check("t", "a", 5, NOW), Verdict::Duplicate);
        assert_eq!(positions.answer("t", &answer("a", 6, true, 2), NOW), None);
        assert_eq!(positions.check("t", "b", 1, NOW), Verdict::Deliver);
        positions.disconnected();
        assert_eq!(
            positions.check("t", "a", 0, NOW),
            Verdict::NewEpoch { lost: lost("b", 2, None), is_first: true },
            "another server has its own history"
        );
    }

    #[test]
    fn a_new_epoch_whose_start_is_missing_is_asked_about() {
        let mut positions = at(4);
        assert_eq!(positions.check("t", "b", 2, NOW), Verdict::NewEpoch { lost: lost("a", 5, None), is_first: false });
        assert_eq!(positions.position("t"), Some(Position { epoch: "b".into(), offset: None }));
        assert!(positions.next_deadline().is_some(), "it is asked again");
        for offset in 0..=2 {
            assert_eq!(positions.check("t", "b", offset, NOW), Verdict::Recovered);
        }
        assert_eq!(positions.next_deadline(), None, "the gap is filled");
    }

    #[test]
    fn what_the_server_dropped_is_skipped_once() {
        let mut positions = at(4);
        assert_eq!(positions.skip("t", lost("a", 4, Some(7))), [lost("a", 5, Some(7))]);
        assert_eq!(positions.skip("t", lost("a", 4, Some(7))), []);
        assert_eq!(positions.check("t", "a", 8, NOW), Verdict::Deliver);
        assert_eq!(positions.skip("t", lost("b", 2, Some(3))), [lost("a", 9, None), lost("b", 0, Some(3))]);
        assert_eq!(positions.check("t", "b", 4, NOW), Verdict::Deliver);
    }

    #[test]
    fn what_was_dropped_of_a_topic_not_seen_yet_is_told_too() {
        let mut positions = Positions::new(10);
        assert_eq!(positions.skip("t", lost("a", 0, Some(7))), [lost("a", 0, Some(7))]);
        assert_eq!(positions.check("t", "a", 8, NOW), Verdict::Deliver);
    }

    #[test]
    fn memory_is_bounded_and_offsets_do_not_overflow() {
        let mut positions = Positions::new(3);
        for number in 0..10 {
            positions.check(&format!("t{number}"), "a", 0, NOW);
        }
        assert_eq!((positions.iter().count(), positions.forgotten()), (3, 7));
        assert!(positions.knows("t9") && !positions.knows("t0"));
        let mut positions = at(u64::MAX);
        assert_eq!(
            positions.check("t", "b", u64::MAX, NOW),
            Verdict::NewEpoch { lost: lost("a", u64::MAX, None), is_first: false }
        );
        assert_eq!(lost("a", 0, Some(u64::MAX)).count(), Some(u64::MAX));
        positions.check("t", &"e".repeat(100), 1, NOW);
    }
}
