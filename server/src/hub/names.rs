//! Which patterns meet a new topic, and which topics meet a new pattern, without looking at all of them.
//!
//! A publication to a known topic asks neither: it finds its topic by one hash, and the topic knows its subscribers.
//! Only a topic or a pattern that appears, is looked up here.
//!
//! [`Patterns`] files each pattern under three texts that every topic it matches must have: what stands before its first
//! wildcard, what stands behind its last one, and the first bytes of the longest text between wildcards. A topic of `n`
//! bytes asks for each of its `n + 1` beginnings, under those that are filed for each *length* of ending that is filed
//! there, and under those for its `3 n` pieces or for the pieces filed, whichever are fewer; what is left is compared. That
//! is `n` hash look-ups and at most a few for each pattern that shares the topic's beginning, never one for each pattern:
//! `user:1:*` … `user:9999:*`, `*:1` … `*:9999` and `*-1-*` … `*-9999-*` cost a new topic as much as one of each. Patterns
//! that have beginning, ending and piece in common with the topic are each compared, in `pattern × topic` steps at worst.
//!
//! [`Names`] holds topics in order, and reversed in order. A new pattern walks the topics with its beginning and those
//! with its ending in turns, until one of both walks is at its end: at most twice the smaller of both ranges. A pattern with
//! neither, like `*x*`, walks them all.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use wse_client_core::topic::matches;

/// Bytes of the text between wildcards that a pattern is filed under.
const PIECE: usize = 3;

/// What stands between the wildcards of a pattern, or a part of a topic; padded with zeros, which no topic has.
type Piece = [u8; PIECE];

/// Patterns, each with what belongs to it.
#[derive(Debug)]
pub(super) struct Patterns<T> {
    beginnings: HashMap<Box<str>, Endings<T>>,
}

/// Patterns with one beginning, by the length of their ending and by the ending.
type Endings<T> = BTreeMap<usize, HashMap<Box<str>, Pieces<T>>>;

/// Patterns with the same beginning and ending, by a piece of what is between.
type Pieces<T> = BTreeMap<Piece, BTreeMap<Box<str>, T>>;

/// Where a pattern is filed.
struct Key<'a> {
    beginning: &'a str,
    ending: &'a str,
    piece: Piece,
}

impl<'a> Key<'a> {
    fn of(pattern: &'a str) -> Self {
        const WILDCARDS: [char; 2] = ['*', '?'];
        let first = pattern.find(WILDCARDS).unwrap_or(pattern.len());
        let last = pattern.rfind(WILDCARDS).map_or(first, |at| at + 1);
        let between = pattern.get(first..last).unwrap_or_default().split(WILDCARDS);
        let longest = between.max_by_key(|text| text.len()).unwrap_or_default();
        Self { beginning: &pattern[..first], ending: &pattern[last..], piece: piece(longest.as_bytes()) }
    }
}

fn piece(bytes: &[u8]) -> Piece {
    let mut piece = Piece::default();
    let len = bytes.len().min(PIECE);
    piece[..len].copy_from_slice(&bytes[..len]);
    piece
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self { beginnings: HashMap::new() }
    }
}

impl<T: Default> Patterns<T> {
    /// What belongs to a pattern; made if it is new.
    pub(super) fn entry(&mut self, pattern: &str) -> &mut T {
        let Key { beginning, ending, piece } = Key::of(pattern);
        let endings = self.beginnings.entry(beginning.into()).or_default();
        let pieces = endings.entry(ending.len()).or_default().entry(ending.into()).or_default();
        pieces.entry(piece).or_default().entry(pattern.into()).or_default()
    }
}

impl<T> Patterns<T> {
    /// Whether there is none.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.beginnings.is_empty()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        let endings = self.beginnings.values().flat_map(BTreeMap::values);
        let pieces = endings.flat_map(HashMap::values).flat_map(BTreeMap::values);
        pieces.flatten().map(|(pattern, value)| (&**pattern, value))
    }

    /// What belongs to a pattern.
    pub(super) fn get_mut(&mut self, pattern: &str) -> Option<&mut T> {
        let Key { beginning, ending, piece } = Key::of(pattern);
        let pieces = self.beginnings.get_mut(beginning)?.get_mut(&ending.len())?.get_mut(ending)?;
        pieces.get_mut(&piece)?.get_mut(pattern)
    }

    /// Forgets a pattern.
    pub(super) fn remove(&mut self, pattern: &str) {
        let Key { beginning, ending, piece } = Key::of(pattern);
        let Some(endings) = self.beginnings.get_mut(beginning) else { return };
        let Some(by_text) = endings.get_mut(&ending.len()) else { return };
        let Some(pieces) = by_text.get_mut(ending) else { return };
        if let Some(patterns) = pieces.get_mut(&piece) {
            patterns.remove(pattern);
            if patterns.is_empty() {
                pieces.remove(&piece);
            }
        }
        if pieces.is_empty() {
            by_text.remove(ending);
        }
        if by_text.is_empty() {
            endings.remove(&ending.len());
        }
        if endings.is_empty() {
            self.beginnings.remove(beginning);
        }
    }

    /// Calls `found` for every pattern that matches a topic. Answers how many look-ups and comparisons that took.
    pub(super) fn of_topic(&self, topic: &str, mut found: impl FnMut(&str, &T)) -> usize {
        let mut steps = 0;
        for at in (0..=topic.len()).filter(|&at| topic.is_char_boundary(at)) {
            steps += 1;
            let Some(endings) = self.beginnings.get(&topic[..at]) else { continue };
            for (len, by_text) in endings {
                // An ending may not reach into the beginning: both are text of the topic.
                let Some(ending) = topic.len().checked_sub(*len).filter(|start| *start >= at) else { break };
                steps += 1;
                let pieces = topic.get(ending..).and_then(|ending| by_text.get(ending));
                if let Some(pieces) = pieces {
                    steps += of_pieces(pieces, topic, &topic.as_bytes()[at..ending], &mut found);
                }
            }
        }
        steps
    }
}

/// Compares the patterns that are filed under a piece of `between`, a part of the topic.
fn of_pieces<T>(pieces: &Pieces<T>, topic: &str, between: &[u8], found: &mut impl FnMut(&str, &T)) -> usize {
    let mut steps = 0;
    let mut compare = |patterns: &BTreeMap<Box<str>, T>| {
        steps += 1 + patterns.len();
        for (pattern, value) in patterns.iter().filter(|(pattern, _)| matches(pattern, topic)) {
            found(pattern, value);
        }
    };
    let windows = || {
        let starts = 0..between.len();
        starts.flat_map(|at| (1..=PIECE.min(between.len() - at)).map(move |len| piece(&between[at..at + len])))
    };
    let asked: BTreeSet<Piece> = std::iter::once(Piece::default()).chain(windows()).collect();
    if pieces.len() < asked.len() {
        pieces.iter().filter(|(piece, _)| asked.contains(*piece)).for_each(|(_, patterns)| compare(patterns));
    } else {
        asked.iter().filter_map(|piece| pieces.get(piece)).for_each(&mut compare);
    }
    steps + pieces.len().min(asked.len())
}

/// Topics in order of their names, and of their names read backwards.
#[derive(Debug, Default)]
pub(super) struct Names {
    forwards: BTreeSet<Arc<str>>,
    backwards: BTreeMap<Box<str>, Arc<str>>,
}

impl Names {
    /// Adds a topic.
    pub(super) fn insert(&mut self, topic: &Arc<str>) {
        self.forwards.insert(Arc::clone(topic));
        self.backwards.insert(reversed(topic), Arc::clone(topic));
    }

    /// Forgets a topic.
    pub(super) fn remove(&mut self, topic: &str) {
        self.forwards.remove(topic);
        self.backwards.remove(&reversed(topic));
    }

    /// Topics that a pattern matches, in no particular order, and how many names that took to look at.
    pub(super) fn of_pattern(&self, pattern: &str) -> (Vec<Arc<str>>, usize) {
        let Key { beginning, ending, .. } = Key::of(pattern);
        let from = |text| (Bound::Included(text), Bound::Unbounded);
        let mut forwards =
            self.forwards.range::<str, _>(from(beginning)).take_while(|topic| topic.starts_with(beginning));
        let mut backwards = self.backwards.range::<str, _>(from(&*reversed(ending))).map(|(_, topic)| topic);
        let mut backwards = backwards.by_ref().take_while(|topic| topic.ends_with(ending));
        let (mut by_beginning, mut by_ending) = (Vec::new(), Vec::new());
        let candidates = loop {
            match forwards.next() {
                Some(topic) => by_beginning.push(topic),
                None => break by_beginning,
            }
            match backwards.next() {
                Some(topic) => by_ending.push(topic),
                None => break by_ending,
            }
        };
        let steps = 2 * candidates.len() + 1;
        (candidates.into_iter().filter(|topic| matches(pattern, topic)).cloned().collect(), steps)
    }
}

fn reversed(text: &str) -> Box<str> {
    text.chars().rev().collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(patterns: &Patterns<()>, topic: &str) -> (Vec<String>, usize) {
        let mut all = Vec::new();
        let steps = patterns.of_topic(topic, |pattern, ()| all.push(pattern.to_owned()));
        all.sort();
        (all, steps)
    }

    fn patterns<'a>(all: impl IntoIterator<Item = &'a str>) -> Patterns<()> {
        let mut patterns = Patterns::default();
        all.into_iter().for_each(|pattern| *patterns.entry(pattern) = ());
        patterns
    }

    const PATTERNS: &[&str] = &[
        "*", "?", "??", "**", "*a", "a*", "a*a", "a?a", "*a*", "*aa*", "*ab*a", "a*bab*", "é*", "*é", "?é?", "*é*é*",
        "a*é", "b*", "*ba", "ab*ba", "a**b", "?*", "*bab*", "*a?b*", "aé*éa",
    ];

    /// All texts of up to five of these characters.
    fn texts() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..5 {
            last = last.iter().flat_map(|text| ['a', 'b', 'é'].map(|c| format!("{text}{c}"))).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    #[test]
    fn patterns_of_a_topic_are_those_that_match_it() {
        let index = patterns(PATTERNS.iter().copied());
        for topic in texts() {
            let mut expected: Vec<_> = PATTERNS.iter().filter(|pattern| matches(pattern, &topic)).collect();
            expected.sort();
            assert!(found(&index, &topic).0.iter().eq(expected), "{topic:?}");
        }
    }

    #[test]
    fn pieces_lead_to_the_same_patterns() {
        // More pieces than a topic has, so that they are looked up.
        let all: Vec<String> = texts().iter().map(|text| format!("*{text}*")).collect();
        let index = patterns(all.iter().map(String::as_str));
        for topic in texts() {
            let mut expected: Vec<_> = all.iter().filter(|pattern| matches(pattern, &topic)).cloned().collect();
            expected.sort();
            expected.dedup();
            assert_eq!(found(&index, &topic).0, expected, "{topic:?}");
        }
    }

    #[test]
    fn topics_of_a_pattern_are_those_that_match_it() {
        let (mut names, all) = (Names::default(), texts());
        all.iter().for_each(|topic| names.insert(&topic.as_str().into()));
        for pattern in PATTERNS {
            let mut expected: Vec<_> = all.iter().filter(|topic| matches(pattern, topic)).collect();
            let (mut topics, _) = names.of_pattern(pattern);
            topics.sort();
            expected.sort();
            assert!(topics.iter().map(|topic| &**topic).eq(expected.iter().map(|topic| topic.as_str())), "{pattern:?}");
        }
    }

    #[test]
    fn what_is_removed_is_gone_entirely() {
        let mut index = patterns(PATTERNS.iter().copied());
        for pattern in PATTERNS {
            assert!(index.get_mut(pattern).is_some());
            index.remove(pattern);
            assert!(index.get_mut(pattern).is_none());
        }
        index.remove("never*there");
        assert!(index.is_empty());
        let mut names = Names::default();
        names.insert(&"abc".into());
        names.remove("abc");
        assert!(names.forwards.is_empty() && names.backwards.is_empty());
    }

    /// 10,000 patterns of every kind, and 100,000 topics.
    #[test]
    fn a_new_topic_does_not_look_at_all_patterns_nor_a_new_pattern_at_all_topics() {
        let mut index = Patterns::<()>::default();
        for n in 0..2500 {
            *index.entry(&format!("user:{n}:*")) = ();
            *index.entry(&format!("*:{n}")) = ();
            *index.entry(&format!("room:*:{n}")) = ();
            *index.entry(&format!("*-{n:05}-*")) = ();
        }
        let mut names = Names::default();
        let mut most = 0;
        for n in 0..100_000 {
            let topic = format!("user:{}:device:{}", n / 40, n % 40 + 2600);
            names.insert(&topic.as_str().into());
            if n % 10 == 0 {
                let (matching, steps) = found(&index, &topic);
                assert_eq!(matching, [format!("user:{}:*", n / 40)]);
                most = most.max(steps);
            }
        }
        assert!(most <= 100, "{most}");
        assert_eq!(found(&index, "room:9:77").0, ["*:77", "room:*:77"]);
        assert_eq!(found(&index, "a-00042-b").0, ["*-00042-*"]);
        for (pattern, matching, bound) in [
            ("user:77:*", 40, 100),
            ("user:77:*:2600", 1, 100),
            ("*:77:device:2600", 1, 10_000),
            ("user:*:device:2639", 2500, 6000),
            ("nobody:*", 0, 10),
            ("*:nothing", 0, 10),
        ] {
            let (topics, steps) = names.of_pattern(pattern);
            assert_eq!(topics.len(), matching, "{pattern}");
            assert!(steps <= bound, "{pattern}: {steps} steps");
        }
    }
}
