//! What a client can do wrong, and what it is told.

use bytes::Bytes;

use super::*;
use crate::{
    client::SubscriptionAction,
    delivery::RateLimit,
    security::{Dialect, KeyPair, SigningConfig},
    topic::{self, Acl, MAX_GROUP_NAME, MAX_PRESENCE},
    wire::{self, Limits, Message, Payload},
};

const NOW: Moment = Moment::from_millis(5000);

fn admit(identity: Identity) -> Peer {
    let wall = WallTime::from_unix_ms(1_771_601_400_000);
    let admission = Admission::Granted(identity);
    let config = Arc::new(PeerConfig { max_rejected: 3, ..PeerConfig::default() });
    Peer::new(config, UpgradeParams::default(), admission, "c1".into(), Seed::from_u64(1), NOW, wall)
}

fn ready_peer() -> Peer {
    let mut peer = admit(Identity { user_id: "u".into(), ..Identity::default() });
    drain(&mut peer);
    peer
}

#[derive(Default)]
struct Drained {
    sent: Vec<Message>,
    closed: Option<u16>,
    events: Vec<Event>,
}

impl Drained {
    fn codes(&self) -> Vec<String> {
        let errors = self.sent.iter().filter(|message| message.kind() == "error");
        errors
            .map(|message| {
                let payload: serde_json::Value = message.payload().parse().unwrap();
                payload["code"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}

fn drain(peer: &mut Peer) -> Drained {
    let mut drained = Drained::default();
    loop {
        match peer.poll() {
            Output::Send(frame) => drained.sent.push(wire::decode(&frame, &Limits::default(), None).unwrap()),
            Output::Close(close) => drained.closed = Some(close.code),
            Output::Emit(event) => drained.events.push(event),
            Output::Wait(_) => return drained,
        }
    }
}

fn say(peer: &mut Peer, text: &str) -> Drained {
    peer.handle(Input::Frame(Frame::Text(Bytes::copy_from_slice(text.as_bytes()))), NOW);
    drain(peer)
}

#[test]
fn an_idle_timeout_need_not_be_whole_milliseconds() {
    let config = Arc::new(PeerConfig { idle_timeout: Duration::from_micros(5500), ..PeerConfig::default() });
    let admission = Admission::Granted(Identity::default());
    let wall = WallTime::from_unix_ms(0);
    let mut peer = Peer::new(config, UpgradeParams::default(), admission, "c".into(), Seed::from_u64(1), NOW, wall);
    peer.handle(Input::Wake, NOW + Duration::from_millis(5));
    assert_eq!(drain(&mut peer).closed, None);
    peer.handle(Input::Wake, NOW + Duration::from_millis(6));
    assert_eq!(drain(&mut peer).closed, Some(close::GOING_AWAY));
}

#[test]
fn a_welcome_comes_first_and_names_the_connection() {
    let mut peer = admit(Identity { user_id: "ada".into(), ..Identity::default() });
    let drained = drain(&mut peer);
    assert_eq!(drained.sent[0].kind(), "server_ready");
    let payload: serde_json::Value = drained.sent[0].payload().parse().unwrap();
    assert_eq!(payload["details"]["connection_id"], "c1");
    assert_eq!(payload["details"]["user_id"], "ada");
}

#[test]
fn refused_clients_are_told_why_before_the_close() {
    for (code, close_code) in
        [(Code::AuthRequired, 4401), (Code::AuthFailed, 4401), (Code::OriginNotAllowed, 4403), (Code::ServerFull, 1013)]
    {
        let admission = Admission::Denied { code, message: "no".into() };
        let wall = WallTime::from_unix_ms(0);
        let config = Arc::new(PeerConfig::default());
        let seed = Seed::from_u64(1);
        let mut peer = Peer::new(config, UpgradeParams::default(), admission, "c".into(), seed, NOW, wall);
        let drained = drain(&mut peer);
        assert_eq!(drained.codes(), [code.as_str()]);
        assert_eq!(drained.closed, Some(close_code));
        assert!(matches!(drained.events[..], [Event::Closed(_)]));
    }
}

#[test]
fn bad_frames_are_told_and_too_many_of_them_end_the_connection() {
    let mut peer = ready_peer();
    assert_eq!(say(&mut peer, "X{}").codes(), ["UNKNOWN_PREFIX"]);
    assert_eq!(say(&mut peer, &"[".repeat(10_000)).codes().len(), 1);
    let last = say(&mut peer, "U{\"t\":1}");
    assert_eq!(last.codes(), ["INVALID_ENVELOPE"]);
    assert_eq!(last.closed, Some(1008));
}

#[test]
fn a_frame_over_the_limit_ends_the_connection_with_1009() {
    let mut peer = ready_peer();
    let drained = say(&mut peer, &"x".repeat((1 << 20) + 1));
    assert_eq!(drained.codes(), ["MESSAGE_TOO_LARGE"]);
    assert_eq!(drained.closed, Some(1009));
}

#[test]
fn text_that_is_not_utf8_ends_the_connection_with_1007() {
    let mut peer = ready_peer();
    peer.handle(Input::Frame(Frame::Text(Bytes::from_static(b"U{\"t\":\"\xff\"}"))), NOW);
    let drained = drain(&mut peer);
    assert_eq!(drained.codes(), ["INVALID_UTF8"]);
    assert_eq!(drained.closed, Some(1007));
}

#[test]
fn pings_are_answered_in_every_form() {
    let mut peer = ready_peer();
    for text in [
        r#"{"t":"ping","p":{"timestamp":1771601399990}}"#,
        r#"WSE{"t":"PING","p":{}}"#,
        r#"{"c":"U","type":"ping"}"#,
        "PING:123",
    ] {
        let drained = say(&mut peer, text);
        assert_eq!(drained.sent[0].kind(), "PONG", "{text}");
        assert!(drained.events.is_empty());
    }
}

#[test]
fn subscription_requests_are_sorted_before_the_server_sees_them() {
    let subscribe = Acl { allow: Vec::new(), deny: vec!["secret".into()] };
    let mut peer = admit(Identity { user_id: "u".into(), subscribe, publish: Acl::default() });
    drain(&mut peer);
    let mut drained = say(
        &mut peer,
        r#"{"t":"subscription_update","id":"r1","p":{"action":"subscribe","topics":["a","a","secret","b*",""]}}"#,
    );
    let Some(Event::Subscribe(request)) = drained.events.pop() else { panic!("a request") };
    assert_eq!(request.topics, ["a", "b*"]);
    assert_eq!(request.refused, [("secret".to_owned(), Code::TopicDenied), (String::new(), Code::InvalidTopic)]);
    peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &["a".into(), "b*".into()], NOW);
    let answer = &drain(&mut peer).sent[0];
    assert_eq!(answer.kind(), "subscription_update");
    assert_eq!(answer.correlation_id(), Some("r1"));
    let payload: serde_json::Value = answer.payload().parse().unwrap();
    assert_eq!(payload["success_topics"], serde_json::json!(["a", "b*"]));
    assert_eq!(payload["failed_topics"][0]["error"], "TOPIC_DENIED");
    assert_eq!(payload["success"], false);
}

#[test]
fn wrong_subscription_requests_are_told() {
    let mut peer = ready_peer();
    let empty = r#"{"t":"subscription_update","p":{"action":"subscribe","topics":[]}}"#;
    assert_eq!(say(&mut peer, empty).codes(), ["INVALID_SUBSCRIPTION"]);
    let action = r#"{"t":"subscription","p":{"action":"dance","topics":["a"]}}"#;
    assert_eq!(say(&mut peer, action).codes(), ["INVALID_ACTION"]);
    let shape = r#"{"t":"subscription","p":{"topics":{"a":1}}}"#;
    assert_eq!(say(&mut peer, shape).codes(), ["INVALID_SUBSCRIPTION"]);
}

#[test]
fn publishing_follows_the_list_of_the_identity() {
    let publish = Acl { allow: vec!["room:*".into()], deny: Vec::new() };
    let mut peer = admit(Identity { user_id: "u".into(), subscribe: Acl::default(), publish });
    drain(&mut peer);
    let allowed = say(&mut peer, r#"U{"t":"say","p":{},"id":"m1","tp":"room:1"}"#);
    assert!(matches!(allowed.events[..], [Event::Publish(_)]));
    let denied = say(&mut peer, r#"U{"t":"say","p":{},"id":"m2","tp":"other"}"#);
    assert_eq!(denied.codes(), ["PUBLISH_DENIED"]);
    assert_eq!(denied.sent[0].correlation_id(), Some("m2"));
    assert_eq!(say(&mut peer, r#"U{"t":"say","p":{},"tp":"room:*"}"#).codes(), ["INVALID_TOPIC"]);
    for kind in ["lost", "error", "heartbeat", "draining", "presence_join", "connection_state_change"] {
        let frame = format!(r#"U{{"t":"{kind}","p":{{}},"tp":"room:1"}}"#);
        assert_eq!(say(&mut peer, &frame).codes(), ["INVALID_REQUEST"], "{kind}");
    }
}

#[test]
fn an_application_message_is_sent_with_its_sequence() {
    let mut peer = ready_peer();
    for expected in 0..3 {
        peer.send(&Outgoing::new("note", Payload::EMPTY), NOW).unwrap();
        assert_eq!(drain(&mut peer).sent[0].sequence(), Some(expected));
    }
    assert!(peer.send(&Outgoing::new("PONG", Payload::EMPTY), NOW).is_err());
}

#[test]
fn what_is_sealed_for_a_published_client_is_neither_packed_nor_compressed() {
    for full_duplex in [false, true] {
        let mut peer = ready_peer();
        let mut rng = Rng::new(Seed::from_u64(3));
        let pair = KeyPair::generate(&mut rng);
        let payload = serde_json::json!({
            "features": { "encryption": true, "full_duplex": full_duplex },
            "encryption_public_key": pair.public_base64(),
        });
        let drained = say(&mut peer, &serde_json::json!({ "t": "client_hello", "p": payload }).to_string());
        let hello: serde_json::Value = drained.sent[0].payload().parse().unwrap();
        let key = hello["encryption_public_key"].as_str().unwrap();
        let (_, mut opener) = pair.agree(key, Dialect::V2, Role::Client, &mut rng).unwrap();
        peer.send(&Outgoing::new("long", Payload::new(&"y".repeat(5000)).unwrap()), NOW).unwrap();
        let Output::Send(frame) = peer.poll() else { panic!("nothing is sent") };
        let plain = opener.open(frame.bytes()).unwrap();
        assert_eq!(plain.starts_with(b"C:"), full_duplex, "{:?}", &plain[..10]);
        assert_eq!(plain.starts_with(b"U{"), !full_duplex, "{:?}", &plain[..10]);
    }
}

#[test]
fn a_key_that_is_no_point_ends_the_connection() {
    let mut peer = ready_peer();
    let hello = r#"{"t":"client_hello","p":{"features":{"encryption":true},"encryption_public_key":"AAAA"}}"#;
    let drained = say(&mut peer, hello);
    assert_eq!(drained.codes(), ["KEY_EXCHANGE_FAILED"]);
    assert_eq!(drained.closed, Some(1008));
}

#[test]
fn a_message_that_cannot_be_signed_is_refused_and_costs_no_connection() {
    let signing = SigningConfig::new("0123456789abcdef0123456789abcdef".into());
    let config = Arc::new(PeerConfig { signing: Some(signing), ..PeerConfig::default() });
    let admission = Admission::Granted(Identity::default());
    let wall = WallTime::from_unix_ms(0);
    let mut peer = Peer::new(config, UpgradeParams::default(), admission, "c".into(), Seed::from_u64(1), NOW, wall);
    drain(&mut peer);
    let deep = (0..200).fold(serde_json::Value::Null, |inner, _| vec![inner].into());
    for payload in [Payload::new(&deep).unwrap(), Payload::from_json(r#"{"s":"\ud800"}"#).unwrap()] {
        let refused = peer.send(&Outgoing::new("priority_message", payload), NOW).expect_err("no signature");
        assert!(matches!(&refused, SendError::InvalidKind { why, .. } if why.contains("surrogate")), "{refused}");
        assert!(drain(&mut peer).closed.is_none());
    }
    peer.send(&Outgoing::new("priority_message", Payload::EMPTY), NOW).expect("the connection goes on");
    assert_eq!(drain(&mut peer).sent[0].sequence(), Some(0));
}

#[test]
fn nothing_goes_out_after_the_end() {
    let mut peer = ready_peer();
    peer.handle(Input::Closed(Close::abnormal()), NOW);
    assert!(matches!(drain(&mut peer).events[..], [Event::Closed(_)]));
    assert!(say(&mut peer, r#"{"t":"ping"}"#).sent.is_empty());
    assert!(peer.send(&Outgoing::new("x", Payload::EMPTY), NOW).is_err());
}

#[test]
fn what_the_server_says_too_late_is_dropped() {
    let mut peer = ready_peer();
    let asked = say(&mut peer, r#"{"t":"subscription","p":{"topics":["a"]}}"#);
    let Some(Event::Subscribe(request)) = asked.events.into_iter().next() else { panic!("no request") };
    peer.close(Close::new(1012, "restart"), NOW);
    drain(&mut peer);
    peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &[], NOW);
    peer.tell_lost("a", 3, NOW);
    peer.tell_error(Code::ServerError, "too late", None, NOW);
    assert!(drain(&mut peer).sent.is_empty());
}

#[test]
fn messages_of_a_batch_count_as_if_they_came_alone() {
    let mut peer = ready_peer();
    let drained = say(
        &mut peer,
        r#"{"t":"batch","id":"b-1","p":{"messages":[{"t":"order","id":"m-1","p":{"n":1}},{"t":"batch","p":{"messages":[]}},
           {"t":"ping","id":"m-2"},{"t":"order","tp":"a*","id":"m-3"},{"t":"subscription","p":{"topics":["t"]}}],"count":5}}"#,
    );
    assert_eq!(drained.codes(), ["INVALID_ENVELOPE", "INVALID_TOPIC"]);
    let answered: Vec<_> = drained.sent.iter().map(|sent| (sent.kind(), sent.correlation_id())).collect();
    assert_eq!(answered, [("error", Some("b-1")), ("PONG", Some("m-2")), ("error", Some("m-3"))]);
    assert!(
        matches!(&drained.events[..], [Event::Message(m), Event::Rejected(_), Event::Subscribe(_)] if m.id() == Some("m-1"))
    );
}

#[test]
fn the_protocols_own_messages_do_not_come_in_a_batch_message() {
    let mut peer = ready_peer();
    let items = r#"{"t":"health_check"},{"t":"config_update"},{"t":"priority_message","p":{"message":{"t":"k"}}}"#;
    let drained = say(&mut peer, &format!(r#"{{"t":"batch_message","p":{{"messages":[{items}]}}}}"#));
    let kinds = drained.events.iter().filter_map(|event| match event {
        Event::Message(message) => Some(message.kind()),
        Event::Rejected(error) => Some(error.code.as_str()),
        _ => None,
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["INVALID_REQUEST", "INVALID_REQUEST", "k"]);
    assert_eq!(drained.sent.len(), 1, "the report alone");
}

#[test]
fn a_version_that_is_too_long_is_not_kept() {
    let mut peer = ready_peer();
    let version = "v".repeat(2000);
    say(&mut peer, &format!(r#"{{"t":"client_hello","p":{{"client_version":"{version}"}}}}"#));
    let health = say(&mut peer, r#"{"t":"health_check"}"#);
    assert!(health.sent[0].payload().bytes().len() < 2000);
}

#[test]
fn a_batch_of_nonsense_ends_the_connection_at_the_limit_and_no_later() {
    let mut peer = ready_peer();
    let items = vec!["1"; 500].join(",");
    let drained = say(&mut peer, &format!(r#"{{"t":"batch","p":{{"messages":[{items},{{"t":"late"}}]}}}}"#));
    assert_eq!((drained.codes().len(), drained.closed), (3, Some(1008)));
    assert!(!drained.events.iter().any(|event| matches!(event, Event::Message(_))), "nothing counts after the close");
    let mut peer = ready_peer();
    let items = vec!["{\"t\":\"a\"}"; 1001].join(",");
    let drained = say(&mut peer, &format!(r#"{{"t":"batch","p":{{"messages":[{items}]}}}}"#));
    assert_eq!((drained.codes(), drained.closed), (vec!["INVALID_REQUEST".to_owned()], None));
}

fn paced_peer(capacity: u32, refill: f64) -> Peer {
    let config = Arc::new(PeerConfig { inbound_rate: Some(RateLimit { capacity, refill }), ..PeerConfig::default() });
    let admission = Admission::Granted(Identity { user_id: "u".into(), ..Identity::default() });
    let wall = WallTime::from_unix_ms(1_771_601_400_000);
    let mut peer = Peer::new(config, UpgradeParams::default(), admission, "c1".into(), Seed::from_u64(1), NOW, wall);
    drain(&mut peer);
    peer
}

fn say_at(peer: &mut Peer, text: &str, after_ms: u64) -> Drained {
    peer.handle(
        Input::Frame(Frame::Text(Bytes::copy_from_slice(text.as_bytes()))),
        NOW + Duration::from_millis(after_ms),
    );
    drain(peer)
}

fn fields(message: &Message) -> serde_json::Value {
    message.payload().parse().unwrap()
}

#[test]
fn a_fast_client_is_warned_then_refused_message_by_message() {
    let mut peer = paced_peer(10, 5.0);
    let mut warned = Vec::new();
    for number in 0..10 {
        let drained = say(&mut peer, r#"{"t":"k","p":{},"id":"m"}"#);
        assert_eq!((drained.events.len(), drained.codes().len()), (1, 0), "{number}");
        warned.extend(drained.sent.iter().filter(|message| message.kind() == "rate_limit_warning").map(fields));
    }
    assert_eq!(warned.len(), 1, "at most one a second: {warned:?}");
    let expected =
        serde_json::json!({ "current_rate": 9, "limit": 5.0, "window": 1.0, "remaining": 1, "retry_after": 0.001 });
    assert_eq!(warned[0], expected);

    let refused = say(&mut peer, r#"{"t":"k","p":{},"id":"late"}"#);
    assert_eq!((refused.codes(), refused.closed), (vec!["RATE_LIMITED".to_owned()], None));
    assert_eq!(refused.sent[0].correlation_id(), Some("late"));
    let told = fields(&refused.sent[0]);
    assert_eq!((&told["retry_after"], &told["limit"], &told["recoverable"]), (&0.2.into(), &5.0.into(), &true.into()));
    assert!(matches!(&refused.events[..], [Event::Rejected(error)] if error.code == Code::RateLimited));
    assert_eq!(say_at(&mut peer, r#"{"t":"k","p":{}}"#, 200).codes(), Vec::<String>::new(), "after the pause");
    let other = say_at(&mut peer, r#"{"t":"subscription_update","p":{"topics":["a"]}}"#, 200);
    assert!(matches!(other.events[..], [Event::Subscribe(_)]), "requests of the protocol are not refused");
}

#[test]
fn a_client_that_goes_on_is_closed_with_a_time_to_come_back() {
    let mut peer = paced_peer(10, 5.0);
    let mut sent = 0;
    let last = loop {
        sent += 1;
        let drained = say(&mut peer, r#"{"t":"k","p":{}}"#);
        if drained.closed.is_some() {
            break drained;
        }
        assert!(sent < 100, "endless patience");
    };
    // Ten are taken, and ten more tokens of patience are used up by five refused ones.
    assert_eq!((sent, last.closed), (16, Some(close::RATE_LIMITED)));
    let told = fields(last.sent.last().unwrap());
    assert_eq!(
        (&told["code"], &told["recoverable"], &told["retry_after"]),
        (&"RATE_LIMITED".into(), &false.into(), &2.0.into())
    );
    for flood in [r#"{"t":"ping","p":{}}"#, "{{{", "PONG"] {
        let mut peer = paced_peer(10, 5.0);
        let sent = (1..100).find(|_| say(&mut peer, flood).closed.is_some());
        assert_eq!(sent, Some(21), "{flood}");
    }
    let mut peer = paced_peer(10, 5.0);
    let pings = (1..100).find(|_| {
        peer.handle(Input::Alive, NOW);
        drain(&mut peer).closed.is_some()
    });
    assert_eq!(pings, Some(21), "pings of the carrier count too");
}

#[test]
fn a_steady_client_within_the_rate_is_never_told_anything() {
    let mut peer = paced_peer(5, 10.0);
    for number in 0..1000 {
        let drained = say_at(&mut peer, r#"{"t":"k","p":{}}"#, number * 100);
        assert_eq!((drained.events.len(), drained.codes().len(), drained.closed), (1, 0, None), "{number}");
        assert!(drained.sent.iter().all(|message| message.kind() != "rate_limit_warning"));
    }
}

#[test]
fn messages_of_a_batch_count_one_by_one() {
    let mut peer = paced_peer(2, 1.0);
    let batch = r#"{"t":"batch_message","id":"b","p":{"messages":[{"t":"k","p":{},"id":"1"},{"t":"k","p":{},"id":"2"},{"t":"k","p":{},"id":"3"}]}}"#;
    let drained = say(&mut peer, batch);
    let report = drained.sent.iter().find(|message| message.kind() == "batch_message_result").map(fields).unwrap();
    assert_eq!((&report["successful"], &report["failed"]), (&2.into(), &1.into()), "{report}");
    assert_eq!(report["results"][2]["error"], "RATE_LIMITED");
}

/// A peer of a server that knows who is in topics and what their state is.
fn knowing_peer(identity: Identity) -> Peer {
    let wall = WallTime::from_unix_ms(1_771_601_400_000);
    let config = Arc::new(PeerConfig { presence: true, snapshots: true, ..PeerConfig::default() });
    let admission = Admission::Granted(identity);
    let mut peer = Peer::new(config, UpgradeParams::default(), admission, "c1".into(), Seed::from_u64(1), NOW, wall);
    drain(&mut peer);
    peer
}

fn reader_of(allow: &str) -> Identity {
    let subscribe = Acl { allow: vec![allow.into()], deny: Vec::new() };
    Identity { user_id: "u".into(), subscribe, publish: Acl::nothing() }
}

#[test]
fn questions_about_topics_are_the_applications_unless_the_server_answers_them() {
    for kind in ["presence_request", "sync_request"] {
        let drained = say(&mut ready_peer(), &format!(r#"{{"t":"{kind}","p":{{"topic":"a"}}}}"#));
        assert!(matches!(&drained.events[..], [Event::Message(message)] if message.kind() == kind));
    }
}

#[test]
fn presence_is_told_to_readers_of_the_topic() {
    let mut peer = knowing_peer(reader_of("room:*"));
    let drained = say(&mut peer, r#"{"t":"presence_request","id":"q","p":{"topic":"room:1","after":"b","limit":3}}"#);
    let [Event::Presence(question)] = &drained.events[..] else { panic!("{:?}", drained.events) };
    assert_eq!((&*question.topic, question.after.as_deref(), question.limit), ("room:1", Some("b"), Some(3)));
    assert_eq!(question.id.as_deref(), Some("q"));
    for (payload, code) in [
        (r#"{"topic":"hall"}"#, "TOPIC_DENIED"),
        (r#"{"topic":"room:*"}"#, "INVALID_TOPIC"),
        (r#"{"topic":7}"#, "INVALID_REQUEST"),
    ] {
        let drained = say(&mut peer, &format!(r#"{{"t":"presence_request","p":{payload}}}"#));
        assert_eq!((drained.codes(), drained.events.len()), (vec![code.to_owned()], 0));
    }
}

#[test]
fn a_question_for_states_never_widens_to_all_topics_by_a_refusal() {
    let mut peer = knowing_peer(reader_of("room:*"));
    let drained = say(&mut peer, r#"{"t":"sync_request","id":"q","p":{"topics":["room:1","hall"]}}"#);
    let [Event::Sync(question)] = &drained.events[..] else { panic!("{:?}", drained.events) };
    assert_eq!(question.topics, ["room:1"]);
    assert_eq!(question.refused, [("hall".to_owned(), Code::TopicDenied)]);
    assert!(question.snapshots);
    let drained = say(&mut peer, r#"{"t":"sync_request","id":"q","p":{"topics":["hall"]}}"#);
    assert!(drained.events.is_empty());
    assert_eq!((drained.sent[0].kind(), drained.sent[0].correlation_id()), ("snapshot_complete", Some("q")));
}

#[test]
fn the_application_is_asked_for_the_state_of_no_impossible_topic() {
    let mut peer = knowing_peer(Identity::default());
    let long = "x".repeat(topic::MAX_LEN + 1);
    let question = format!(r#"{{"t":"sync_request","id":"q","p":{{"topics":["","a\nb","{long}","a*","room"]}}}}"#);
    let drained = say(&mut peer, &question);
    let [Event::Sync(SyncQuestion { topics, refused, .. })] = &drained.events[..] else {
        panic!("{:?}", drained.events)
    };
    assert_eq!(topics, &["room"]);
    let codes: Vec<Code> = refused.iter().map(|(_, code)| *code).collect();
    assert_eq!(codes, [Code::InvalidTopic, Code::InvalidTopic, Code::InvalidTopic, Code::TopicDenied]);
}

#[test]
fn who_wants_to_be_seen_names_topics_of_its_request() {
    let mut peer = knowing_peer(reader_of("room:*"));
    let request = |presence: &str| {
        format!(
            r#"{{"t":"subscription_update","p":{{"topics":["room:1","room:*"],"group":"g","presence":{presence}}}}}"#
        )
    };
    for (presence, seen, refused) in [
        (r#"{"room:1":null}"#, vec!["room:1"], vec![]),
        (r#"{"room:1":{}}"#, vec!["room:1"], vec![]),
        (r#"{"room:1":{"a":1}}"#, vec![], vec![("room:1", Code::PublishDenied)]),
        (
            r#"{"room:*":null,"hall":null}"#,
            vec![],
            vec![("room:*", Code::InvalidTopic), ("hall", Code::InvalidSubscription)],
        ),
        (
            &format!(r#"{{"room:1":"{}"}}"#, "x".repeat(MAX_PRESENCE - 1)),
            vec![],
            vec![("room:1", Code::MessageTooLarge)],
        ),
    ] {
        let drained = say(&mut peer, &request(presence));
        let [Event::Subscribe(request)] = &drained.events[..] else { panic!("{:?}", drained.events) };
        assert_eq!(request.presence.keys().collect::<Vec<_>>(), seen, "{presence}");
        let told: Vec<_> = request.refused.iter().map(|(name, code)| (&**name, *code)).collect();
        assert_eq!((told, request.group.as_deref()), (refused, Some("g")), "{presence}");
    }
    let long = "g".repeat(MAX_GROUP_NAME + 1);
    let drained = say(&mut peer, &format!(r#"{{"t":"subscription","p":{{"topics":["room:1"],"group":"{long}"}}}}"#));
    assert_eq!(drained.codes(), ["INVALID_SUBSCRIPTION"]);
}
