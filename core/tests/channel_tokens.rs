//! A channel token lets one user subscribe to one topic that its list does not name.

mod pair;

use std::time::Duration;

use pair::Pair;
use wse_client_core::{
    config::ClientConfig,
    security::{
        Secret,
        tokens::{Purpose, Tokens},
    },
    server::{self, PeerConfig},
    topic::Acl,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const HOUR: Duration = Duration::from_secs(60 * 60);

fn pair(acl: Acl) -> Pair {
    let config = PeerConfig { token_key: Some(KEY.into()), idle_timeout: 2 * HOUR, ..PeerConfig::default() };
    Pair::connected_with(ClientConfig::new("ws://server/wse"), config, 1, acl)
}

fn rooms(deny: &[&str]) -> Acl {
    Acl { allow: vec!["public:*".into()], deny: deny.iter().map(|name| (*name).to_owned()).collect() }
}

/// Topics that the last request of the client may have.
fn asks_for(pair: &mut Pair, topics: &[&str]) -> Vec<String> {
    pair.client.subscribe(topics, pair.now).expect("valid");
    pair.settle();
    let request = pair.peer_events.iter().rev().find_map(|event| match event {
        server::Event::Subscribe(request) => Some(request.topics.clone()),
        _ => None,
    });
    request.expect("a request")
}

#[test]
fn a_token_opens_its_topic_and_nothing_else() {
    let mut pair = pair(rooms(&[]));
    assert_eq!(asks_for(&mut pair, &["private:1", "public:1"]), ["public:1"]);
    let token = pair.peer.channel_token("private:2", pair.now).expect("a token key");
    pair.client.set_channel_token("private:2", Some(token.clone())).expect("valid");
    pair.client.set_channel_token("private:3", Some(token)).expect("valid");
    assert_eq!(asks_for(&mut pair, &["private:2", "private:3"]), ["private:2"]);
    pair.client.set_channel_token("private:2", None).expect("valid");
    assert_eq!(asks_for(&mut pair, &["private:2"]), Vec::<String>::new(), "it counted for its request alone");
}

#[test]
fn a_token_runs_out_after_an_hour() {
    let mut pair = pair(rooms(&[]));
    let token = pair.peer.channel_token("private:1", pair.now).expect("a token key");
    pair.client.set_channel_token("private:1", Some(token)).expect("valid");
    pair.now = pair.now + HOUR;
    assert_eq!(asks_for(&mut pair, &["private:1"]), Vec::<String>::new());
}

#[test]
fn deny_wins_over_a_token_and_a_forged_one_opens_nothing() {
    let mut pair = pair(rooms(&["private:secret"]));
    let token = pair.peer.channel_token("private:secret", pair.now).expect("a token key");
    pair.client.set_channel_token("private:secret", Some(token)).expect("valid");
    pair.client.set_channel_token("private:1", Some(Secret::from("forged.token"))).expect("valid");
    let wildcard = pair.peer.channel_token("private:*", pair.now).expect("a token key");
    pair.client.set_channel_token("private:*", Some(wildcard)).expect("valid");
    assert_eq!(asks_for(&mut pair, &["private:secret", "private:1"]), Vec::<String>::new());
    asks_for(&mut pair, &["private:*"]);
    assert_eq!(asks_for(&mut pair, &["private:9"]), Vec::<String>::new());
}

#[test]
fn a_session_token_names_the_connection() {
    let mut pair = pair(Acl::default());
    let token = pair.peer.session_token(pair.now).expect("a token key");
    let issued = pair::WALL;
    let claims = Tokens::new(KEY.into()).check(token.expose(), issued).expect("genuine");
    assert_eq!(claims.user, "user");
    assert_eq!(claims.purpose, Purpose::Session { connection: pair.peer.connection_id().to_owned() });
    let day = Duration::from_secs(24 * 60 * 60).as_millis() as u64;
    assert_eq!(claims.expires, issued.as_unix_ms() + day);
    assert!(Tokens::new("another key".into()).check(token.expose(), issued).is_err());
    let mut without = Pair::connected(ClientConfig::new("ws://server/wse"), PeerConfig::default(), 1);
    assert_eq!(without.peer.session_token(without.now), None);
}
