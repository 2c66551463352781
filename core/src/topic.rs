//! Topic names, glob patterns and access lists. Source: PROTOCOL.md §6.

use crate::error::Code;

/// Longest topic name or pattern, in bytes.
pub const MAX_LEN: usize = 256;

/// Longest name of a queue group, in bytes. Source: PROTOCOL.md §6.8.
pub const MAX_GROUP_NAME: usize = 64;

/// Most bytes that a user can tell about itself in one topic, as JSON. Source: PROTOCOL.md §6.7.
pub const MAX_PRESENCE: usize = 4096;

/// Checks a topic name or pattern: not empty, at most [`MAX_LEN`] bytes, no control characters.
///
/// # Errors
/// [`Code::InvalidTopic`].
pub fn check(topic: &str) -> Result<(), Code> {
    let usable = !topic.is_empty() && topic.len() <= MAX_LEN && !topic.chars().any(char::is_control);
    if usable { Ok(()) } else { Err(Code::InvalidTopic) }
}

/// Checks the name of a queue group: not empty, at most [`MAX_GROUP_NAME`] bytes, no control characters.
///
/// # Errors
/// [`Code::InvalidSubscription`].
pub fn check_group(name: &str) -> Result<(), Code> {
    let usable = check(name).is_ok() && name.len() <= MAX_GROUP_NAME;
    if usable { Ok(()) } else { Err(Code::InvalidSubscription) }
}

/// Whether this is a pattern (has `*` or `?`) and not an exact name.
pub fn is_pattern(topic: &str) -> bool {
    topic.bytes().any(|byte| matches!(byte, b'*' | b'?'))
}

/// Whether `pattern` matches `topic`: `*` stands for any run of characters, `?` for exactly one.
///
/// Takes a time that grows with the length of both, whatever the pattern.
pub fn matches(pattern: &str, topic: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return after(pattern, topic) == Some("");
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The ends first: they are compared at one place only, and nearly always decide.
    let Some(inner) = after(head, topic).and_then(|rest| before(tail, rest)) else { return false };
    // Of each part between stars the first place is as good as any: it leaves the most to the others.
    let parts = middle.split('*').filter(|part| !part.is_empty());
    parts.into_iter().try_fold(inner, |text, part| after_first(part, text)).is_some()
}

/// What follows `part`, which may have `?` but no `*`, at the beginning of `text`.
fn after<'a>(part: &str, text: &'a str) -> Option<&'a str> {
    if !part.contains('?') {
        return text.strip_prefix(part);
    }
    let mut rest = text.chars();
    let fits = part.chars().all(|one| rest.next().is_some_and(|other| one == '?' || one == other));
    fits.then_some(rest.as_str())
}

/// What comes before `part` at the end of `text`.
fn before<'a>(part: &str, text: &'a str) -> Option<&'a str> {
    if !part.contains('?') {
        return text.strip_suffix(part);
    }
    let mut rest = text.chars();
    let fits = part.chars().rev().all(|one| rest.next_back().is_some_and(|other| one == '?' || one == other));
    fits.then_some(rest.as_str())
}

/// What follows `part` at the first place where it stands in `text`.
fn after_first<'a>(part: &str, text: &'a str) -> Option<&'a str> {
    if !part.contains('?') {
        return text.find(part).and_then(|at| text.get(at + part.len()..));
    }
    // No topic is as long as that, though a list of an access token may name it.
    if part.chars().count() > MAX_LEN {
        return None;
    }
    let letters = Letters::of(part);
    let mut places = Places::default();
    let last = text.char_indices().find(|(_, letter)| places.step(letters.at(*letter), letters.count));
    last.and_then(|(at, letter)| text.get(at + letter.len_utf8()..))
}

/// Places of a part, a bit for each: as many as a pattern can have.
#[derive(Debug, Clone, Copy, Default)]
struct Places([u64; MAX_LEN / 64]);

/// Where each letter stands in a part with `?`, which is every letter. Shift-and: Baeza-Yates, Gonnet, "A new approach to
/// text searching", 1992.
struct Letters {
    /// By letter.
    known: Vec<(char, Places)>,
    others: Places,
    count: usize,
}

impl Letters {
    fn of(part: &str) -> Self {
        let mut by_letter: Vec<(char, usize)> = part.chars().enumerate().map(|(at, one)| (one, at)).collect();
        let count = by_letter.len();
        let mut others = Places::default();
        by_letter.iter().filter(|(one, _)| *one == '?').for_each(|(_, at)| others.add(*at));
        by_letter.retain(|(one, _)| *one != '?');
        by_letter.sort_unstable();
        let mut known: Vec<(char, Places)> = Vec::new();
        for (one, at) in by_letter {
            if known.last().is_none_or(|(last, _)| *last != one) {
                known.push((one, others));
            }
            if let Some((_, places)) = known.last_mut() {
                places.add(at);
            }
        }
        Self { known, others, count }
    }

    fn at(&self, letter: char) -> &Places {
        let found = self.known.binary_search_by_key(&letter, |(one, _)| *one).ok();
        found.and_then(|at| self.known.get(at)).map_or(&self.others, |(_, places)| places)
    }
}

impl Places {
    fn add(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// Goes one letter further, which stands at these places of a part of `count` letters; whether the part ends here.
    fn step(&mut self, letter: &Self, count: usize) -> bool {
        let mut carry = 1;
        for (word, mask) in self.0.iter_mut().zip(&letter.0) {
            let next = *word >> 63;
            *word = (*word << 1 | carry) & mask;
            carry = next;
        }
        let last = count.saturating_sub(1);
        self.0.get(last / 64).is_some_and(|word| word >> (last % 64) & 1 == 1)
    }
}

/// Which topics a connection may use. Deny wins; an empty allow list allows everything.
///
/// Source: token claims `wse_topics` and `wse_publish`, `{"allow": [glob], "deny": [glob]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acl {
    /// Patterns that are allowed; empty means all.
    pub allow: Vec<String>,
    /// Patterns that are refused, whatever `allow` says.
    pub deny: Vec<String>,
}

impl Acl {
    /// A list that allows nothing.
    pub fn nothing() -> Self {
        Self { allow: Vec::new(), deny: vec!["*".into()] }
    }

    /// Whether an exact topic may be used.
    pub fn allows(&self, topic: &str) -> bool {
        let denied = self.deny.iter().any(|pattern| matches(pattern, topic));
        !denied && (self.allow.is_empty() || self.allow.iter().any(|pattern| matches(pattern, topic)))
    }

    /// Whether a subscription to a pattern may be accepted at all. Each topic that the pattern meets
    /// later is checked by [`Acl::allows`] again, so a wide pattern reaches only what is allowed.
    pub fn may_subscribe(&self, topic: &str) -> bool {
        is_pattern(topic) || self.allows(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the words of the doc say, as slow as it may be.
    fn plainly(pattern: &[u8], topic: &[u8]) -> bool {
        match (pattern, topic) {
            ([b'*', rest @ ..], _) => (0..=topic.len()).any(|at| plainly(rest, &topic[at..])),
            ([one, pattern @ ..], [other, topic @ ..]) => (*one == b'?' || one == other) && plainly(pattern, topic),
            ([], topic) => topic.is_empty(),
            (_, []) => false,
        }
    }

    /// Every text of up to so many letters of the alphabet.
    fn texts(alphabet: &[&str], most: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..most {
            last = last.iter().flat_map(|text| alphabet.iter().map(move |letter| format!("{text}{letter}"))).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    #[test]
    fn every_short_pattern_is_matched_as_the_words_say() {
        let topics = texts(&["a", "b"], 6);
        for pattern in texts(&["a", "b", "*", "?"], 5) {
            for topic in &topics {
                let expected = plainly(pattern.as_bytes(), topic.as_bytes());
                assert_eq!(matches(&pattern, topic), expected, "{pattern:?} on {topic:?}");
            }
        }
    }

    #[test]
    fn globs_match_whole_topics() {
        for (pattern, topic, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "anything:at:all", true),
            ("user:*:events", "user:42:events", true),
            ("user:*:events", "user:42:event", false),
            ("user:*", "user:", true),
            ("?", "é", true),
            ("??", "é", false),
            ("é*", "éa", true),
            ("è", "é", false),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxx", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("ab*ba", "aba", false),
            ("a?*?a", "aa", false),
            ("a?*?a", "axya", true),
            ("*é?*", "xxéyz", true),
            ("*a?c*", "aac-abc", true),
            ("*?", "", false),
            ("*é?x*", "aéñéñxb", true),
            ("*é?x*", "aéñnxéx", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern:?} on {topic:?}");
        }
    }

    #[test]
    fn a_part_with_a_wildcard_may_be_as_long_as_a_topic() {
        for len in [62, 63, 64, 65, 127, 128, 129, 200] {
            let text = format!("{}b{}", "a".repeat(len), "c".repeat(20));
            assert!(matches(&format!("*{}?b*", "a".repeat(len - 1)), &text), "{len}");
            assert!(!matches(&format!("*{}?b*", "a".repeat(len)), &text), "{len}");
        }
        assert!(!matches(&format!("*?{}*", "a".repeat(MAX_LEN)), &"a".repeat(MAX_LEN + 1)));
    }

    #[test]
    fn a_glob_bomb_is_answered_at_once() {
        let pattern = "*a".repeat(128);
        assert!(!matches(&pattern, &"a".repeat(100)));
    }

    #[test]
    fn deny_wins_and_an_empty_allow_list_allows_all() {
        let acl = Acl { allow: vec!["room:*".into()], deny: vec!["room:secret*".into()] };
        assert!(acl.allows("room:1"));
        assert!(!acl.allows("room:secret:1"));
        assert!(!acl.allows("other"));
        assert!(Acl::default().allows("x"));
        assert!(!Acl::nothing().allows("x"));
    }

    #[test]
    fn names_are_checked() {
        assert!(check("user:1:events").is_ok());
        for bad in ["", "a\nb", "\u{7f}", &"x".repeat(MAX_LEN + 1)] {
            assert_eq!(check(bad), Err(Code::InvalidTopic));
        }
        assert!(check_group(&"g".repeat(MAX_GROUP_NAME)).is_ok());
        for bad in ["", "a\nb", &"g".repeat(MAX_GROUP_NAME + 1)] {
            assert_eq!(check_group(bad), Err(Code::InvalidSubscription));
        }
    }
}
