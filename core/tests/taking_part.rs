//! A client that is seen in topics, or shares their messages with others: what its server understands, over one
//! connection and the next.

mod pair;

use pair::Pair;
use serde_json::{Value, json};
use wse_client_core::{
    client::{self, Client, RequestId, SubscribeError, SubscribeOptions, SubscriptionAction, SubscriptionOutcome},
    config::ClientConfig,
    error::Code,
    io::{Close, Frame},
    server::{self, PeerConfig, SubscriptionRequest},
    wire::Payload,
};

/// What a server was asked: action, topics, what is told in them, the group, and whether positions count.
type Asked = (&'static str, Vec<String>, Value, Option<String>, bool);

fn peer_config() -> PeerConfig {
    PeerConfig { presence: true, recovery: true, ..PeerConfig::default() }
}

fn pair() -> Pair {
    Pair::connected(ClientConfig::new("ws://server/wse"), peer_config(), 3)
}

fn presence(json: &'static str) -> SubscribeOptions {
    SubscribeOptions { presence: Some(Payload::from_json(json).expect("JSON")), group: None }
}

fn group(name: &str) -> SubscribeOptions {
    SubscribeOptions::default().with_group(name)
}

/// Subscribes, and lets the server answer.
fn subscribe(pair: &mut Pair, topics: &[&str], options: &SubscribeOptions) -> (RequestId, Vec<Asked>) {
    let request = pair.client.subscribe_with(topics, options, pair.now).expect("valid");
    pair.settle();
    (request, served(pair))
}

/// Answers what the server was asked since the last call, as a server does that shows everybody.
fn served(pair: &mut Pair) -> Vec<Asked> {
    let mut asked = Vec::new();
    for event in std::mem::take(&mut pair.peer_events) {
        let (action, mut request) = match event {
            server::Event::Subscribe(request) => (SubscriptionAction::Subscribe, request),
            server::Event::Unsubscribe(request) => (SubscriptionAction::Unsubscribe, request),
            _ => continue,
        };
        asked.push(told_of(action, &request));
        request.present = request.presence.keys().map(|name| (name.clone(), 7)).collect();
        pair.peer.answer_subscription(action, request, Vec::new(), &[], pair.now);
        pair.settle();
    }
    asked
}

fn told_of(action: SubscriptionAction, request: &SubscriptionRequest) -> Asked {
    let SubscriptionRequest { topics, presence, group, recover, .. } = request;
    (action.as_str(), topics.clone(), json!(presence), group.clone(), *recover)
}

fn asked(action: &'static str, topics: &[&str], presence: Value, group: Option<&str>, recover: bool) -> Asked {
    let topics = topics.iter().map(|name| (*name).to_owned()).collect();
    (action, topics, presence, group.map(str::to_owned), recover)
}

fn outcome(pair: &Pair, request: RequestId) -> SubscriptionOutcome {
    let outcomes = pair.client_events.iter().filter_map(|event| match event {
        client::Event::Subscribed(outcome) if outcome.request == request => Some(outcome.clone()),
        _ => None,
    });
    let outcomes: Vec<_> = outcomes.collect();
    let [outcome] = &outcomes[..] else { panic!("{outcomes:?}") };
    outcome.clone()
}

#[test]
fn what_a_user_tells_is_said_updated_kept_and_taken_back() {
    let mut pair = pair();
    let (request, first) = subscribe(&mut pair, &["room", "hall"], &presence(r#" {"mood": "fine"} "#));
    let told = json!({ "room": { "mood": "fine" }, "hall": { "mood": "fine" } });
    assert_eq!(first, [asked("subscribe", &["room", "hall"], told, None, true)]);
    assert_eq!(outcome(&pair, request).present, [("hall".into(), 7), ("room".into(), 7)]);

    let (request, plain) = subscribe(&mut pair, &["room"], &SubscribeOptions::default());
    assert_eq!(plain, [asked("subscribe", &["room"], json!({ "room": { "mood": "fine" } }), None, true)]);
    assert_eq!(outcome(&pair, request).present.len(), 1);
    let (_, update) = subscribe(&mut pair, &["room"], &presence("true"));
    assert_eq!(update, [asked("subscribe", &["room"], json!({ "room": null }), None, true)]);

    pair.reconnect(peer_config());
    let told = json!({ "room": null, "hall": { "mood": "fine" } });
    assert_eq!(served(&mut pair), [asked("subscribe", &["room", "hall"], told, None, true)]);

    let (request, hidden) = subscribe(&mut pair, &["room"], &presence("false"));
    let expected =
        [asked("unsubscribe", &["room"], json!({}), None, false), asked("subscribe", &["room"], json!({}), None, true)];
    assert_eq!(hidden, expected);
    assert_eq!((outcome(&pair, request).accepted, outcome(&pair, request).present.len()), (vec!["room".into()], 0));
    let again = subscribe(&mut pair, &["room"], &presence("false")).1;
    assert_eq!(again, [asked("subscribe", &["room"], json!({}), None, true)], "nothing to take back");

    pair.client.unsubscribe(&["hall"], pair.now).expect("valid");
    pair.settle();
    served(&mut pair);
    let (_, anew) = subscribe(&mut pair, &["hall"], &SubscribeOptions::default());
    assert_eq!(anew, [asked("subscribe", &["hall"], json!({}), None, true)], "it went with the subscription");
    assert_eq!(pair.client.held().presence_bytes, 0);
}

#[test]
fn a_group_is_joined_kept_and_changed_and_has_no_position() {
    let mut pair = pair();
    subscribe(&mut pair, &["jobs", "news"], &SubscribeOptions::default());
    for topic in ["jobs", "news"] {
        let publication = format!(r#"U{{"t":"n","p":{{}},"tp":"{topic}","e":"x","o":1}}"#);
        pair.down.push_back(Frame::Text(publication.into()));
    }
    pair.settle();
    assert_eq!(pair.client.held().positions, 2);
    let joined = subscribe(&mut pair, &["jobs"], &group("workers")).1;
    let expected = [
        asked("unsubscribe", &["jobs"], json!({}), None, false),
        asked("subscribe", &["jobs"], json!({}), Some("workers"), false),
    ];
    assert_eq!(joined, expected);
    assert_eq!(pair.client.held().positions, 1, "only that of the topic that is read alone");
    subscribe(&mut pair, &["mail:*"], &group("workers"));
    subscribe(&mut pair, &["mail:*"], &SubscribeOptions::default());
    assert_eq!(pair.client.topics(), ["news", "jobs", "mail:*"], "as the server has them");

    pair.reconnect(peer_config());
    let expected = [
        asked("subscribe", &["news"], json!({}), None, true),
        asked("subscribe", &["jobs", "mail:*"], json!({}), Some("workers"), false),
    ];
    assert_eq!(served(&mut pair), expected);
    assert_eq!(outcome_of_all(&pair).accepted.len(), 3, "one outcome for all of it");
}

fn outcome_of_all(pair: &Pair) -> SubscriptionOutcome {
    let outcomes = pair.client_events.iter().rev().filter_map(|event| match event {
        client::Event::Subscribed(outcome) if outcome.request == RequestId(0) => Some(outcome.clone()),
        _ => None,
    });
    outcomes.into_iter().next().expect("the topics were asked for again")
}

#[test]
fn what_is_wished_before_there_is_a_connection_is_asked_for_at_the_first() {
    let mut pair = pair();
    pair.client.close(Close::normal(), pair.now);
    for options in [group("a"), group("b"), presence("1")] {
        pair.client.subscribe_with(&["jobs"], &options, pair.now).expect("valid");
    }
    pair.reconnect(peer_config());
    assert_eq!(served(&mut pair), [asked("subscribe", &["jobs"], json!({ "jobs": 1 }), Some("b"), false)]);
}

#[test]
fn a_change_that_the_server_refuses_ends_the_subscription_on_both_ends() {
    let mut pair = pair();
    subscribe(&mut pair, &["room", "hall"], &presence("true"));
    let request = pair.client.subscribe_with(&["room"], &presence("\"loud\""), pair.now).expect("valid");
    pair.settle();
    let Some(server::Event::Subscribe(change)) = pair.peer_events.pop() else { panic!("{:?}", pair.peer_events) };
    let refused = vec![("room".to_owned(), Code::PublishDenied)];
    pair.peer.answer_subscription(SubscriptionAction::Subscribe, change, refused, &[], pair.now);
    pair.settle();
    assert_eq!(outcome(&pair, request).refused, [("room".to_owned(), "PUBLISH_DENIED".to_owned())]);
    assert_eq!(pair.client.topics(), ["hall"]);
    assert_eq!(served(&mut pair), [asked("unsubscribe", &["room"], json!({}), None, false)]);
}

#[test]
fn a_call_that_cannot_work_changes_nothing() {
    let mut pair = pair();
    subscribe(&mut pair, &["room"], &group("g"));
    let mut refused = |topics: &[&str], options: &SubscribeOptions| {
        let client: &mut Client = &mut pair.client;
        client.subscribe_with(topics, options, pair.now).expect_err("refused")
    };
    assert_eq!(refused(&["room"], &group("")).code(), Code::InvalidSubscription);
    assert_eq!(refused(&["room"], &group(&"g".repeat(65))), SubscribeError::InvalidGroup);
    assert_eq!(refused(&["r*"], &presence("{}")).code(), Code::InvalidTopic);
    let long = SubscribeOptions::default().with_presence(&"x".repeat(4095)).expect("JSON");
    assert_eq!(refused(&["room"], &long).code(), Code::MessageTooLarge);
    assert_eq!(refused(&[], &group("h")), SubscribeError::Empty);
    pair.reconnect(peer_config());
    assert_eq!(served(&mut pair), [asked("subscribe", &["room"], json!({}), Some("g"), false)]);
}
