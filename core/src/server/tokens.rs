//! Tokens for this connection and for single topics. Source: PROTOCOL.md §5.6.

use std::collections::BTreeMap;

use crate::{
    client::SubscriptionAction,
    security::{
        Secret,
        tokens::{CHANNEL_LIFE, Purpose, SESSION_LIFE, Tokens},
    },
    time::Moment,
};

use super::Peer;

impl Peer {
    /// A token that names this connection and its user, good for 24 hours. `None` without a token key, or when nobody
    /// was let in.
    ///
    /// The server gives it out where it has a use for it, for example to let an HTTP route know the connection. The
    /// handshake carries none: nothing in the protocol takes one.
    pub fn session_token(&mut self, now: Moment) -> Option<Secret> {
        let purpose = Purpose::Session { connection: self.connection_id.clone() };
        let user = &self.identity.as_ref()?.user_id;
        Some(self.tokens()?.issue(user, purpose, SESSION_LIFE, self.wall.at(now), &mut self.rng))
    }

    /// A token with which this user may subscribe to `topic` on any connection, for an hour. `None` without a token
    /// key, or when nobody was let in. Whether the user should have it is the caller's decision.
    pub fn channel_token(&mut self, topic: &str, now: Moment) -> Option<Secret> {
        let purpose = Purpose::Channel { topic: topic.to_owned() };
        let user = &self.identity.as_ref()?.user_id;
        Some(self.tokens()?.issue(user, purpose, CHANNEL_LIFE, self.wall.at(now), &mut self.rng))
    }

    fn tokens(&self) -> Option<Tokens> {
        self.config.token_key.clone().map(Tokens::new)
    }

    /// Lets the user use the topics that it brought tokens for. Deny wins. Gives the length of the allow list before.
    pub(super) fn admit_by_token(&mut self, brought: &BTreeMap<String, String>, now: Moment) -> usize {
        let tokens = self.tokens();
        let now = self.wall.at(now);
        let Some(identity) = &mut self.identity else { return 0 };
        let own = identity.subscribe.allow.len();
        // An empty list allows everything already.
        if let Some(tokens) = tokens.filter(|_| own > 0) {
            let admitted = brought
                .iter()
                .take(self.config.limits.max_topics)
                .filter(|(topic, token)| tokens.opens_channel(token, &identity.user_id, topic, now))
                // A name with wildcards would admit more than itself.
                .filter(|(topic, _)| !crate::topic::is_pattern(topic));
            let admitted: Vec<String> = admitted.map(|(topic, _)| topic.clone()).collect();
            identity.subscribe.allow.extend(admitted);
        }
        own
    }

    /// Notes which of these topics the client has by a token alone. What it asks about them later needs no other token.
    pub(super) fn note_by_token(&mut self, action: SubscriptionAction, topics: &[String]) {
        if action == SubscriptionAction::Unsubscribe {
            self.by_token.retain(|name| !topics.contains(name));
            return;
        }
        let listed = |name: &str| self.identity.as_ref().is_none_or(|identity| identity.subscribe.may_subscribe(name));
        let opened: Vec<String> = topics.iter().filter(|name| !listed(name)).cloned().collect();
        self.by_token.extend(opened);
    }
}
