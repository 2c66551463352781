//! How a client takes part in topics: whether it is seen there, and with whom it shares the messages. Source:
//! PROTOCOL.md §6.7, §6.8.

use serde::Serialize;

use crate::{
    topic::{self, MAX_PRESENCE},
    wire::{Limits, Payload, PayloadError, control::Object},
};

use super::SubscribeError;

/// Levels of a subscription request around what a user tells: envelope, payload, `presence`.
const WRAPPING: usize = 3;

/// Bytes of `presence` after which a request is continued in another message.
const MAX_TOLD: usize = 64 << 10;

/// How to take part in topics, for [`Client::subscribe_with`](super::Client::subscribe_with). It is kept with each topic
/// until that is unsubscribed, and told to the server at every connection.
///
/// What is `None` stays as it is. At first a client is not seen, and shares with nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Whether other subscribers see this user in the topics, which must be names and no patterns. `true`: it is seen;
    /// `false`: it is not; any other JSON of at most [`MAX_PRESENCE`] bytes: it is seen, and tells this about itself.
    pub presence: Option<Payload>,
    /// The queue group in which the messages are shared, each going to one member: 1 to
    /// [`MAX_GROUP_NAME`](topic::MAX_GROUP_NAME) bytes. A group is left by unsubscribing.
    pub group: Option<String>,
}

impl SubscribeOptions {
    /// The same with [`SubscribeOptions::presence`].
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn with_presence<T: Serialize + ?Sized>(self, presence: &T) -> Result<Self, PayloadError> {
        Ok(Self { presence: Some(Payload::new(presence)?), ..self })
    }

    /// The same with [`SubscribeOptions::group`].
    #[must_use]
    pub fn with_group(self, group: impl Into<String>) -> Self {
        Self { group: Some(group.into()), ..self }
    }

    pub(super) fn check(&self, topics: &[String], limits: &Limits) -> Result<(), SubscribeError> {
        if let Some(group) = &self.group {
            topic::check_group(group).map_err(|_| SubscribeError::InvalidGroup)?;
        }
        let Some((presence, told)) = self.presence.as_ref().and_then(|presence| Some((presence, told(presence)?)))
        else {
            return Ok(());
        };
        if let Some(pattern) = topics.iter().find(|name| topic::is_pattern(name)) {
            return Err(SubscribeError::PresenceInPattern { topic: pattern.clone() });
        }
        if told.len() > MAX_PRESENCE {
            return Err(SubscribeError::PresenceTooLarge { size: told.len() });
        }
        if !presence.nests_at_most(limits.max_depth.saturating_sub(WRAPPING)) {
            return Err(SubscribeError::PresenceTooDeep);
        }
        Ok(())
    }
}

/// What [`SubscribeOptions::presence`] tells, as JSON without space around it; `None`: the user is not to be seen.
pub(crate) fn told(presence: &Payload) -> Option<String> {
    match presence.to_json().trim_ascii() {
        "false" => None,
        "true" => Some("null".into()),
        told => Some(told.into()),
    }
}

/// How one topic is wanted.
#[derive(Debug, Default)]
struct Manner {
    /// What is told there, as JSON; `None`: the client is not seen.
    presence: Option<String>,
    group: Option<String>,
}

/// How topics are wanted; those that are not here, without being seen and alone. A list, since a map would be half of what
/// this file adds to a browser's module.
#[derive(Debug, Default)]
pub(super) struct Manners(Vec<(String, Manner)>);

impl Manners {
    /// Notes the wish. Says whether a server that has the topic as it was before takes this from a subscription made
    /// anew alone.
    pub(super) fn change(&mut self, topic: &str, options: &SubscribeOptions) -> bool {
        if options.presence.is_none() && options.group.is_none() {
            return false;
        }
        let known = self.0.iter().position(|(name, _)| name == topic);
        let at = known.unwrap_or_else(|| {
            self.0.push((topic.to_owned(), Manner::default()));
            self.0.len() - 1
        });
        let Manner { presence, group } = &mut self.0[at].1;
        let mut anew = false;
        if let Some(told) = options.presence.as_ref().map(told) {
            anew = presence.is_some() && told.is_none();
            *presence = told;
        }
        if options.group.is_some() {
            anew |= *group != options.group;
            group.clone_from(&options.group);
        }
        anew
    }

    pub(super) fn forget(&mut self, topics: &[String]) {
        self.0.retain(|(name, _)| !topics.contains(name));
    }

    pub(super) fn has(&self, topic: &str) -> bool {
        self.of(topic).is_some()
    }

    pub(super) fn group(&self, topic: &str) -> Option<&str> {
        self.of(topic)?.group.as_deref()
    }

    fn of(&self, topic: &str) -> Option<&Manner> {
        self.0.iter().find(|(name, _)| name == topic).map(|(_, manner)| manner)
    }

    /// What is told in a topic.
    fn told(&self, topic: &str) -> Option<&str> {
        self.of(topic)?.presence.as_deref()
    }

    /// Bytes of what is told.
    pub(super) fn told_bytes(&self) -> usize {
        self.0.iter().filter_map(|(_, manner)| manner.presence.as_ref()).map(String::len).sum()
    }

    /// The topics in runs that one request can ask for: of one group, at most so many, and not too much told. They keep
    /// their order, since of several that meet a topic the first decides about its group.
    pub(super) fn runs<'a>(&self, topics: &'a [String], most: usize) -> Vec<&'a [String]> {
        let told = |name: &String| self.told(name).map_or(0, str::len);
        let mut runs = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (at, name) in topics.iter().enumerate() {
            bytes += told(name);
            let full = at - start >= most || bytes > MAX_TOLD;
            if at > start && (full || self.group(name) != self.group(&topics[start])) {
                runs.push(&topics[start..at]);
                (start, bytes) = (at, told(name));
            }
        }
        runs.push(&topics[start..]);
        runs
    }

    /// Adds to a request for topics of one group how they are wanted.
    pub(super) fn write(&self, topics: &[String], request: Object) -> Object {
        let presence = topics.iter().fold(Object::new(), |all, name| match self.told(name) {
            Some(told) => all.json(name, told),
            None => all,
        });
        let group = topics.first().and_then(|name| self.group(name));
        request.filled("presence", presence).optional_text("group", group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn in_group(group: &str) -> SubscribeOptions {
        SubscribeOptions::default().with_group(group)
    }

    fn telling(json: &'static str) -> SubscribeOptions {
        SubscribeOptions { presence: Some(Payload::from_json(json).expect("JSON")), group: None }
    }

    #[test]
    fn what_is_not_said_stays_and_only_what_a_server_keeps_is_asked_for_anew() {
        let mut manners = Manners::default();
        assert!(!manners.change("a", &telling("{\"n\":1}")));
        assert!(!manners.change("a", &telling(" true ")), "another word is an update");
        assert!(manners.change("a", &in_group("g")));
        assert!(!manners.change("a", &SubscribeOptions::default()));
        assert_eq!(manners.write(&names(&["a"]), Object::new()).into_json(), r#"{"presence":{"a":null},"group":"g"}"#);
        assert!(manners.change("a", &telling("false")));
        assert_eq!(manners.write(&names(&["a"]), Object::new()).into_json(), r#"{"group":"g"}"#);
        manners.forget(&names(&["a"]));
        assert_eq!((manners.has("a"), manners.told_bytes()), (false, 0));
    }

    #[test]
    fn runs_keep_the_order_and_hold_one_group_and_a_bounded_amount() {
        let mut manners = Manners::default();
        for name in ["c", "d", "f"] {
            manners.change(name, &in_group("g"));
        }
        let all = names(&["a", "b", "c", "d", "e", "f"]);
        assert_eq!(manners.runs(&all, 9), [&all[..2], &all[2..4], &all[4..5], &all[5..]]);
        assert_eq!(manners.runs(&all[..2], 1), [&all[..1], &all[1..2]]);
        let many: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let long = SubscribeOptions::default().with_presence(&"x".repeat(MAX_PRESENCE - 2)).expect("JSON");
        many.iter().for_each(|name| assert!(!manners.change(name, &long)));
        assert_eq!(manners.runs(&many, 99).iter().map(|run| run.len()).collect::<Vec<_>>(), [16, 16, 8]);
    }

    #[test]
    fn what_a_server_would_refuse_is_refused_at_the_call() {
        let (limits, topics) = (Limits::default(), names(&["a"]));
        for name in ["", "a\n", &"g".repeat(topic::MAX_GROUP_NAME + 1)] {
            assert_eq!(in_group(name).check(&topics, &limits), Err(SubscribeError::InvalidGroup));
        }
        let telling_long = SubscribeOptions::default().with_presence(&"x".repeat(MAX_PRESENCE - 1)).expect("JSON");
        let size = MAX_PRESENCE + 1;
        assert_eq!(telling_long.check(&topics, &limits), Err(SubscribeError::PresenceTooLarge { size }));
        let deep = SubscribeOptions {
            presence: Some(Payload::from_json(format!("{}{}", "[".repeat(62), "]".repeat(62))).expect("JSON")),
            group: None,
        };
        assert_eq!(deep.check(&topics, &limits), Err(SubscribeError::PresenceTooDeep));
        let patterns = names(&["a", "b*"]);
        let refused = Err(SubscribeError::PresenceInPattern { topic: "b*".into() });
        assert_eq!(telling("true").check(&patterns, &limits), refused);
        assert_eq!(telling("false").check(&patterns, &limits), Ok(()));
        assert_eq!(in_group("g").check(&patterns, &limits), Ok(()));
    }
}
