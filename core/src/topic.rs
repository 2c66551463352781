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
/// Takes at most `pattern.len() * topic.len()` steps, whatever the pattern.
pub fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, mut rest) = (pattern.as_bytes(), topic);
    let mut at = 0;
    // Where to resume when the text after a star did not fit: (pattern after the star, topic there).
    let mut retry: Option<(usize, &str)> = None;
    loop {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, rest));
                at += 1;
                continue;
            }
            Some(b'?') => {
                let mut chars = rest.chars();
                if chars.next().is_some() {
                    (at, rest) = (at + 1, chars.as_str());
                    continue;
                }
            }
            Some(&byte) if rest.as_bytes().first() == Some(&byte) => {
                // Equal lead bytes mean equal characters only if the whole character is compared.
                let len = rest.chars().next().map_or(1, char::len_utf8);
                if pattern.get(at..at + len) == rest.as_bytes().get(..len) {
                    (at, rest) = (at + len, &rest[len..]);
                    continue;
                }
            }
            None if rest.is_empty() => return true,
            Some(_) | None => {}
        }
        let Some((after_star, from)) = retry else { return false };
        let mut chars = from.chars();
        if chars.next().is_none() {
            return false;
        }
        retry = Some((after_star, chars.as_str()));
        (at, rest) = (after_star, chars.as_str());
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
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern:?} on {topic:?}");
        }
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
