//! A server's end of one connection: settings, signs of life, batches. Source: PROTOCOL.md §7, §11.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use wse_client_core::{
    client::Outgoing,
    delivery::BatchConfig,
    io::Frame,
    rng::Seed,
    security::SigningConfig,
    server::{Admission, Event, Figures, Identity, Input, Output, Peer, PeerConfig, QuestionKind, UpgradeParams},
    time::{Moment, WallTime},
    wire::{self, Limits, Message, Payload, Priority},
};

const WALL: u64 = 1_771_601_400_000;

fn at(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

/// A peer and what it did.
struct World {
    peer: Peer,
    now: Moment,
    frames: Vec<Frame>,
    events: Vec<Event>,
    wait: Option<Moment>,
}

impl World {
    fn new(config: PeerConfig) -> Self {
        config.check().expect("usable");
        let params = UpgradeParams::parse("client_version=2.0.7").expect("a query");
        let admission = Admission::Granted(Identity { user_id: "ada".into(), ..Identity::default() });
        let wall = WallTime::from_unix_ms(WALL);
        let peer = Peer::new(Arc::new(config), params, admission, "c1".into(), Seed::from_u64(1), at(0), wall);
        let mut world = Self { peer, now: at(0), frames: Vec::new(), events: Vec::new(), wait: None };
        world.drain();
        world
    }

    fn with_features(config: PeerConfig, features: &Value) -> Self {
        let mut world = Self::new(config);
        world.say("client_hello", &json!({ "features": features }));
        world.frames.clear();
        world
    }

    fn drain(&mut self) {
        loop {
            match self.peer.poll() {
                Output::Send(frame) => self.frames.push(frame),
                Output::Emit(event) => self.events.push(event),
                Output::Close(close) => panic!("closed: {close:?}"),
                Output::Wait(at) => {
                    self.wait = at;
                    return;
                }
            }
        }
    }

    fn say(&mut self, kind: &str, payload: &Value) {
        let text = json!({ "t": kind, "p": payload, "id": "q1", "v": 1 }).to_string();
        self.peer.handle(Input::Frame(Frame::Text(text.into())), self.now);
        self.drain();
    }

    fn wake(&mut self, now: Moment) {
        self.now = now;
        self.peer.handle(Input::Wake, now);
        self.drain();
    }

    /// What was said since the last call.
    fn heard(&mut self) -> Vec<Message> {
        let decode = |frame: &Frame| wire::decode(frame, &Limits::default(), None).expect("decodable");
        std::mem::take(&mut self.frames).iter().map(decode).collect()
    }

    fn heard_one(&mut self, kind: &str) -> Value {
        let heard = self.heard();
        let found = heard.iter().find(|message| message.kind() == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {heard:?}")).payload().parse().expect("JSON")
    }

    fn update(&mut self, settings: Value) -> Value {
        self.say("config_update", &settings);
        self.heard_one("config_update_response")
    }
}

fn event(n: u64, size: usize) -> Outgoing {
    Outgoing::new("event", Payload::new(&json!({ "n": n, "text": "x".repeat(size) })).expect("plain JSON"))
}

#[test]
fn a_beat_is_a_ping_and_a_heartbeat() {
    let mut world = World::new(PeerConfig::default());
    world.heard();
    for sequence in 0..3 {
        let now = world.wait.expect("a timer");
        world.wake(now);
        let heard = world.heard();
        assert_eq!(heard.iter().map(Message::kind).collect::<Vec<_>>(), ["PING", "heartbeat"]);
        assert_eq!(heard[1].payload().parse::<Value>().expect("JSON")["sequence"], sequence);
        // A frame of the client keeps the connection alive.
        world.say("pong", &json!({}));
    }
    assert_eq!(world.now, at(45_000));
    let mut silent = World::new(PeerConfig { heartbeat: false, ..PeerConfig::default() });
    silent.heard();
    silent.wake(at(15_000));
    assert_eq!(silent.heard().len(), 1);
}

#[test]
fn a_round_trip_is_taken_from_each_form_of_the_answer_and_from_no_other() {
    for (form, counts) in [
        (json!({ "server_timestamp": WALL + 15_000, "client_timestamp": 1 }), true),
        (json!({ "timestamp": WALL + 15_000 }), true),
        (json!({ "server_timestamp": WallTime::from_unix_ms(WALL + 15_000).to_string() }), true),
        (json!({ "server_timestamp": WALL + 14_999 }), false),
        (json!({ "timestamp": "soon" }), false),
        (json!({}), false),
    ] {
        let mut world = World::new(PeerConfig::default());
        world.wake(at(15_000));
        world.now = at(15_070);
        world.say("PONG", &form);
        let latency = world.peer.network().latency;
        assert_eq!(latency, counts.then_some(Duration::from_millis(70)), "{form}");
        // The same answer twice is no second round trip.
        world.now = at(15_900);
        world.say("PONG", &form);
        assert_eq!(world.peer.network().latency, latency, "{form}");
    }
}

#[test]
fn a_network_that_gets_worse_is_told_once_and_again_when_it_is_well() {
    let mut world = World::new(PeerConfig::default());
    let mut told = Vec::new();
    for beat in 1..=60_u64 {
        world.wake(at(beat * 15_000));
        for message in world.heard().iter().filter(|message| message.kind() == "connection_quality") {
            let payload: Value = message.payload().parse().expect("JSON");
            assert!(payload["recommended_settings"]["batch_size"].is_u64(), "{payload}");
            told.push(payload["quality"].as_str().expect("text").to_owned());
        }
        let slow = beat < 5;
        world.now = world.now + Duration::from_millis(if slow { 400 } else { 20 });
        world.say("PONG", &json!({ "timestamp": WALL + beat * 15_000 }));
    }
    assert_eq!(told.first().map(String::as_str), Some("poor"), "{told:?}");
    assert!(matches!(told.last().map(String::as_str), Some("good" | "excellent")), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{told:?}");
}

#[test]
fn settings_are_changed_each_for_itself_and_all_are_answered() {
    let mut world = World::with_features(PeerConfig::default(), &json!({ "batching": true }));
    let answer = world.update(json!({
        "compression_threshold": 600, "batch_size": 1000, "batch_timeout": -1, "max_queue_size": 99, "colour": "red",
        "compression_enabled": "yes",
    }));
    assert_eq!(answer["success"], false);
    assert_eq!(
        answer["updated_settings"],
        json!({ "batch_size": 100, "batch_timeout": 0.0, "compression_threshold": 600 })
    );
    let failed: Vec<&String> = answer["failed_settings"].as_object().expect("a map").keys().collect();
    assert_eq!(failed, ["colour", "compression_enabled", "max_queue_size"]);
    let long = "x".repeat(100_000);
    assert_eq!(world.update(json!({ long: 1 }))["success"], false);
    let answer = world.update(json!({ "max_queue_size": 200 }));
    assert_eq!((&answer["success"], &answer["updated_settings"]["max_queue_size"]), (&json!(true), &json!(200)));
    assert!(matches!(world.events.last(), Some(Event::QueueSize(200))), "{:?}", world.events);
    world.say("config_request", &json!({}));
    let report = world.heard_one("config_response");
    assert_eq!(report["compression_threshold"], 600);
    assert_eq!((&report["batch_size"], &report["max_queue_size"]), (&json!(100), &json!(200)));
}

#[test]
fn compression_follows_what_the_client_set() {
    let mut world = World::new(PeerConfig::default());
    world.heard();
    let compressed = |world: &mut World| {
        world.peer.send(&event(1, 800), world.now).expect("sent");
        world.drain();
        world.frames.pop().expect("a frame").bytes().starts_with(b"C:")
    };
    assert!(!compressed(&mut world), "below the threshold of the server");
    world.update(json!({ "compression_threshold": 512 }));
    assert!(compressed(&mut world));
    world.update(json!({ "compression_enabled": false }));
    assert!(!compressed(&mut world) && !world.peer.delivery().compression);
    world.update(json!({ "compression_enabled": true }));
    assert!(world.peer.delivery().compression);
    let mut never = World::new(PeerConfig { compression: None, ..PeerConfig::default() });
    assert_eq!(never.update(json!({ "compression_enabled": true }))["success"], false);
}

#[test]
fn figures_of_the_server_reach_the_one_who_asks() {
    let mut world = World::new(PeerConfig::default());
    for (asked, kind, answered) in [
        ("metrics_request", QuestionKind::Metrics, "metrics_response"),
        ("debug_request", QuestionKind::Debug, "debug_response"),
    ] {
        world.say(asked, &json!({}));
        let Some(Event::Question(question)) = world.events.pop() else { panic!("no question") };
        assert_eq!(question.kind, kind);
        let figures = Figures { subscriptions: vec!["a".into()], ..Figures::default() };
        world.peer.note_delivered(7, 700);
        world.peer.answer_question(&question, &figures, world.now);
        world.drain();
        let answer = world.heard_one(answered);
        assert_eq!(answer["subscriptions"], json!({ "count": 1, "topics": ["a"] }));
        assert!(answer["connection_stats"]["frames_sent"].as_u64().expect("a number") > 7, "{answer}");
        assert_eq!(
            answer["queue_stats"]["priorities"]["10"],
            json!({ "queued": 0, "sent": 0, "dropped": 0, "refused": 0 })
        );
    }
}

#[test]
fn rates_are_those_of_the_last_minute() {
    let mut world = World::new(PeerConfig { heartbeat: false, ..PeerConfig::default() });
    for beat in 1..=4 {
        world.say("chat", &json!({}));
        world.wake(at(beat * 15_000));
    }
    world.say("metrics_request", &json!({}));
    let Some(Event::Question(question)) = world.events.pop() else { panic!("no question") };
    world.peer.answer_question(&question, &Figures::default(), world.now);
    world.drain();
    let stats = &world.heard_one("metrics_response")["connection_stats"];
    let rate = stats["frames_received_per_second"].as_f64().expect("a number");
    assert!((rate - 4.0 / 60.0).abs() < 0.01, "{stats}");
}

/// Sends all of them the way a driver does.
fn send_all(world: &mut World, messages: &[Outgoing]) {
    let mut waiting = messages;
    while !waiting.is_empty() {
        let sizes: Vec<usize> = waiting.iter().map(|message| message.payload.bytes().len()).collect();
        let urgent = waiting[0].priority >= Priority::High;
        let count = world.peer.next_frame(sizes, urgent, world.now);
        world.drain();
        if count == 0 {
            return;
        }
        assert!(world.peer.send_together(&waiting[..count], world.now).is_empty());
        world.drain();
        waiting = &waiting[count..];
    }
}

#[test]
fn messages_that_wait_share_a_frame_for_a_client_that_reads_batches() {
    let messages: Vec<Outgoing> = (0..25).map(|n| event(n, 10)).collect();
    for (features, frames) in
        [(json!({ "batching": true }), 3), (json!({ "batch_messages": true }), 3), (json!({}), 25)]
    {
        let mut world = World::with_features(PeerConfig::default(), &features);
        send_all(&mut world, &messages);
        assert_eq!(world.frames.len(), frames, "{features}");
        let mut numbers = Vec::new();
        for message in world.heard() {
            let payload: Value = message.payload().parse().expect("JSON");
            match message.kind() {
                "batch" => numbers.extend(payload["messages"].as_array().expect("a list").iter().cloned()),
                _ => numbers.push(json!({ "p": payload, "seq": message.sequence() })),
            }
        }
        let read: Vec<(u64, u64)> = numbers
            .iter()
            .map(|message| (message["p"]["n"].as_u64().expect("n"), message["seq"].as_u64().expect("seq")))
            .collect();
        assert_eq!(read, (0..25).map(|n| (n, n)).collect::<Vec<_>>(), "{features}");
    }
}

#[test]
fn messages_that_may_be_signed_and_batches_that_are_too_large_go_one_by_one() {
    let batching = json!({ "batching": true });
    let signing = Some(SigningConfig::new("a key of at least thirty-two bytes!!".into()));
    let mut world = World::with_features(PeerConfig { signing, ..PeerConfig::default() }, &batching);
    send_all(&mut world, &[event(1, 1), event(2, 1)]);
    assert_eq!(world.frames.len(), 2);
    let mut world = World::with_features(PeerConfig::default(), &batching);
    let deep = Payload::from_json(["[".repeat(63), "]".repeat(63)].concat()).expect("JSON");
    assert!(world.peer.send_together(&[event(1, 1), Outgoing::new("deep", deep), event(2, 1)], world.now).is_empty());
    world.drain();
    assert_eq!(world.frames.len(), 3, "a batch around it would nest too deep to be read");
    let limits = Limits { max_frame: 4096, ..Limits::default() };
    let mut world = World::with_features(PeerConfig { limits, compression: None, ..PeerConfig::default() }, &batching);
    send_all(&mut world, &[event(1, 3000), event(2, 3000)]);
    assert_eq!(world.frames.len(), 2);
    assert_eq!(world.peer.send_together(&[event(3, 5000), event(4, 1)], world.now).len(), 1);
    world.drain();
    assert_eq!(world.frames.len(), 3);
}

#[test]
fn with_a_timeout_messages_are_held_for_each_other() {
    let batch = BatchConfig { size: 3, timeout: Duration::from_millis(100), ..BatchConfig::default() };
    let mut world = World::with_features(PeerConfig { batch, ..PeerConfig::default() }, &json!({ "batching": true }));
    world.now = at(1000);
    send_all(&mut world, &[event(1, 1)]);
    assert_eq!(world.frames.len(), 1, "the first goes at once");
    world.now = at(1010);
    send_all(&mut world, &[event(2, 1), event(3, 1)]);
    assert_eq!((world.frames.len(), world.wait), (1, Some(at(1100))));
    world.wake(at(1100));
    send_all(&mut world, &[event(2, 1), event(3, 1)]);
    assert_eq!(world.frames.len(), 2);
    let urgent = Outgoing { priority: Priority::Critical, ..event(4, 1) };
    send_all(&mut world, &[urgent]);
    assert_eq!(world.frames.len(), 3, "what is urgent is not held");
}

#[test]
fn what_was_dropped_from_the_queue_is_told_by_priority() {
    let mut world = World::new(PeerConfig::default());
    world.heard();
    world.peer.tell_dropped(&[(Priority::Background, 3), (Priority::Normal, 2)], world.now);
    world.drain();
    assert_eq!(world.heard_one("lost"), json!({ "count": 5, "priorities": { "1": 3, "5": 2 } }));
}
