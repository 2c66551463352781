//! Topics: who gets what, in which form, and what is said about losses.

mod common;

use common::{Client, PATIENCE, Raw, Running, client_frame, code, open, payload};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;
use wse_client_core::{
    io::Frame,
    rng::{Rng, Seed},
    security::{Dialect, KeyPair, Opener, Role, Sealer},
    wire::{self, Category, Limits, PayloadEncoding},
};
use wse_server::{Config, ConnectionHandle, Handler, Message, Outgoing, Payload};

#[tokio::test]
async fn exact_and_glob_subscriptions_deliver_once_and_in_order() {
    let running = Running::start(open()).await;
    let mut both = running.subscriber("", &["room.a", "room.*", "?oom.a"]).await;
    let mut other = running.subscriber("", &["room.b"]).await;
    for number in 0..500 {
        assert_eq!(running.publish("room.a", "tick", &json!({ "n": number })), 1);
    }
    for number in 0..500 {
        let message = both.message().await;
        assert_eq!((message.topic(), payload(&message)), (Some("room.a"), json!({ "n": number })));
        assert!(message.id().is_some_and(|id| id.len() == 36) && message.timestamp().is_some());
        assert_eq!(message.sequence(), None);
    }
    assert_eq!(running.publish("room.b", "tick", &json!({ "n": "b" })), 2);
    assert_eq!(both.message().await.topic(), Some("room.b"));
    assert_eq!(other.message().await.topic(), Some("room.b"));
    both.expect_silence().await;
    other.expect_silence().await;
    assert_eq!(running.server.stats().messages_delivered, 502);
}

/// Publishers and readers on several threads: a wake that gets lost, or a publication read twice, shows here.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_doubled_or_reordered_between_threads() {
    const TOPICS: usize = 4;
    const COUNT: u64 = 1500;
    let running = Running::start(open()).await;
    let mut readers = Vec::new();
    for number in 0..12 {
        let topics: &[&str] = if number % 2 == 0 { &["load.*"] } else { &["load.0", "load.1", "load.2", "load.3"] };
        let mut client = running.subscriber("", topics).await;
        readers.push(tokio::spawn(async move {
            let mut next = [0; TOPICS];
            for _ in 0..COUNT as usize * TOPICS {
                let message = client.message().await;
                let topic: usize = message.topic().expect("a topic")[5..].parse().expect("a number");
                assert_eq!(payload(&message)["n"], next[topic]);
                next[topic] += 1;
            }
            client.expect_silence().await;
        }));
    }
    let mut writers = Vec::new();
    for topic in 0..TOPICS {
        let server = running.server.clone();
        writers.push(tokio::spawn(async move {
            for number in 0..COUNT {
                let payload = Payload::new(&json!({ "n": number })).expect("JSON");
                server.publish(&format!("load.{topic}"), Outgoing::new("k", payload)).expect("published");
                // Sometimes the readers sleep between two messages, sometimes they do not.
                if number % 7 == 0 {
                    tokio::task::yield_now().await;
                }
                if number % 101 == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        }));
    }
    for task in writers.into_iter().chain(readers) {
        task.await.expect("no panic");
    }
    assert_eq!(running.server.stats().messages_delivered, 12 * COUNT * TOPICS as u64);
}

#[tokio::test]
async fn unsubscribing_ends_delivery() {
    let running = Running::start(open()).await;
    let mut client = running.subscriber("", &["a", "b"]).await;
    let answer = client.request("unsubscribe", &["a"]).await;
    assert_eq!(answer["active_subscriptions"], json!(["b"]));
    assert_eq!(running.publish("a", "k", &json!({})), 0);
    assert_eq!(running.publish("b", "k", &json!({})), 1);
    assert_eq!(client.message().await.topic(), Some("b"));
}

#[tokio::test]
async fn topics_in_the_url_are_subscribed_at_once() {
    let running = Running::start(open()).await;
    let mut client = running.ready_client("?topics=a,b%2A").await;
    let answer = payload(&client.message().await);
    assert_eq!(answer["active_subscriptions"], json!(["a", "b*"]));
    running.publish("bc", "k", &json!({}));
    assert_eq!(client.message().await.topic(), Some("bc"));
}

#[tokio::test]
async fn clients_publish_to_each_other() {
    let running = Running::start(open()).await;
    let mut reader = running.subscriber("", &["chat"]).await;
    let mut writer = running.ready_client("").await;
    // Duplicate keys, order and number forms must come out as they went in.
    writer.send_text(r#"U{"t":"say","p":{"b":1.50,"a":18446744073709551615,"b":2},"id":"m1","tp":"chat"}"#).await;
    let message = reader.message().await;
    assert_eq!((message.kind(), message.id()), ("say", Some("m1")));
    assert_eq!(message.payload().bytes(), br#"{"b":1.50,"a":18446744073709551615,"b":2}"#);
    // Types of the protocol cannot be forged.
    writer.send_json(&json!({ "t": "error", "p": {}, "id": "m2", "tp": "chat" })).await;
    let error = writer.message().await;
    assert_eq!((code(&error), error.correlation_id()), ("INVALID_REQUEST".into(), Some("m2")));
    reader.expect_silence().await;
}

#[tokio::test]
async fn messages_without_a_topic_go_to_the_users_topic_by_default() {
    let running = Running::start(open()).await;
    let mut reader = running.subscriber("", &["client:*:messages"]).await;
    let mut writer = running.ready_client("").await;
    writer.send_json(&json!({ "t": "order", "p": { "n": 1 } })).await;
    let message = reader.message().await;
    assert!(message.topic().is_some_and(|topic| topic.starts_with("client:guest-")));
    assert_eq!((message.kind(), payload(&message)), ("order", json!({ "n": 1 })));
}

#[tokio::test]
async fn a_late_joiner_gets_the_snapshot_behind_the_answer_and_before_live_messages() {
    let running = Running::start(open()).await;
    running.publish("host", "cpu_snapshot", &json!({ "old": true }));
    running.publish("host", "cpu_snapshot", &json!({ "load": 3 }));
    running.publish("host", "cpu_update", &json!({ "lost": "nobody listened" }));
    for topics in [["host"], ["ho*"]] {
        let mut client = running.subscriber("", &topics).await;
        running.publish("host", "cpu_update", &json!({ "load": 4 }));
        let snapshot = client.message().await;
        assert_eq!((snapshot.category(), payload(&snapshot)), (Some(Category::Snapshot), json!({ "load": 3 })));
        assert_eq!(payload(&client.message().await), json!({ "load": 4 }));
        client.expect_silence().await;
    }
}

#[tokio::test]
async fn each_client_gets_its_format() {
    let running = Running::start(open()).await;
    let mut binary = running.subscriber("", &["t"]).await;
    let mut text = running.subscriber("?format=text", &["t"]).await;
    let mut msgpack = running.subscriber("?format=msgpack", &["t"]).await;
    let mut plain = running.subscriber("?compression=false", &["t"]).await;
    let large = json!({ "text": "so much alike ".repeat(200) });
    for value in [json!({ "n": 1 }), large.clone()] {
        assert_eq!(running.publish("t", "k", &value), 4);
    }
    for (client, small_start, large_start) in [
        (&mut binary, &b"U{"[..], &b"C:"[..]),
        (&mut text, b"U{", b"C:"),
        (&mut msgpack, b"M:", b"M:"),
        (&mut plain, b"U{", b"U{"),
    ] {
        for (start, value) in [(small_start, json!({ "n": 1 })), (large_start, large.clone())] {
            let frame = client.frame().await.expect("open");
            assert!(frame.bytes().starts_with(start), "{frame:?}");
            let message = wire::decode(&frame, &Limits::default(), None).expect("decodable");
            assert_eq!(payload(&message), value);
        }
    }
    assert!(matches!(text.frame_after(&running, "t").await, Frame::Text(_)));
    assert!(matches!(binary.frame_after(&running, "t").await, Frame::Binary(_)));
}

impl Client {
    async fn frame_after(&mut self, running: &Running, topic: &str) -> Frame {
        running.publish(topic, "k", &json!({}));
        self.frame().await.expect("open")
    }
}

#[tokio::test]
async fn msgpack_of_a_client_reaches_msgpack_clients_byte_for_byte() {
    let running = Running::start(open()).await;
    let mut reader = running.subscriber("?format=msgpack", &["t"]).await;
    let mut writer = running.ready_client("?format=msgpack").await;
    // {"t": "k", "tp": "t", "p": bin 00 ff}
    let frame = [&b"M:\x83\xa1t\xa1k\xa2tp\xa1t\xa1p"[..], &[0xC4, 2, 0, 0xFF]].concat();
    writer.send_binary(frame).await;
    let message = reader.message().await;
    assert_eq!(message.payload().encoding(), PayloadEncoding::Msgpack);
    assert_eq!(message.payload().bytes(), [0xC4, 2, 0, 0xFF]);
}

/// Says hello with a key, and waits for the other half.
async fn agree(client: &mut Client) -> (Sealer, Opener) {
    let mut rng = Rng::new(Seed::from_u64(1));
    let pair = KeyPair::generate(&mut rng);
    let features = json!({ "encryption": true, "full_duplex": true });
    let hello =
        json!({ "client_version": "test", "features": features, "encryption_public_key": pair.public_base64() });
    client.send_json(&json!({ "t": "client_hello", "p": hello })).await;
    let hello = payload(&client.message_of("server_hello").await);
    let key = hello["encryption_public_key"].as_str().expect("a key");
    pair.agree(key, Dialect::V2, Role::Client, &mut rng).expect("agreed")
}

async fn open_next(client: &mut Client, opener: &mut Opener) -> Message {
    let frame = client.frame().await.expect("open");
    assert!(frame.bytes().starts_with(b"E:"), "{frame:?}");
    wire::decode(&frame, &Limits::default(), Some(opener)).expect("opens")
}

#[tokio::test]
async fn an_encrypted_connection_gets_topic_messages_sealed_and_none_before_the_key() {
    let running = Running::start(open()).await;
    let mut plain = running.subscriber("", &["t"]).await;
    let mut client = running.ready_client("?encryption=true&topics=t").await;
    client.message_of("subscription_update").await;
    assert_eq!(running.publish("t", "k", &json!({ "n": 1 })), 2);
    client.expect_silence().await;
    let (mut sealer, mut opener) = agree(&mut client).await;
    assert_eq!(payload(&open_next(&mut client, &mut opener).await), json!({ "n": 1 }));
    running.publish("t", "k", &json!({ "text": "x".repeat(3000) }));
    assert_eq!(open_next(&mut client, &mut opener).await.topic(), Some("t"));
    let sealed = sealer.seal(br#"U{"t":"k","p":{"from":"me"},"tp":"t"}"#).expect("sealed");
    client.send_binary(sealed).await;
    assert_eq!(payload(&open_next(&mut client, &mut opener).await), json!({ "from": "me" }));
    for _ in 0..2 {
        plain.message().await;
    }
    assert_eq!(payload(&plain.message().await), json!({ "from": "me" }));
}

#[tokio::test]
async fn a_slow_reader_is_told_what_it_lost_and_goes_on_while_others_miss_nothing() {
    const COUNT: u64 = 3000;
    let running = Running::start(Config { ring_messages: 64, ..open() }).await;
    let mut slow = running.subscriber("?compression=false", &["t"]).await;
    let mut quick = running.subscriber("", &["t"]).await;
    let filler = "x".repeat(20_000);
    for number in 0..COUNT {
        running.publish("t", "k", &json!({ "n": number, "filler": filler }));
        assert_eq!(payload(&quick.message().await)["n"], number);
    }
    let (mut lost, mut expected) = (0, 0);
    while expected < COUNT {
        let message = slow.message().await;
        let value = payload(&message);
        match message.kind() {
            "lost" => {
                assert_eq!(value["topic"], "t");
                let count = value["count"].as_u64().expect("a count");
                (lost, expected) = (lost + count, expected + count);
            }
            _ => {
                assert_eq!(value["n"], expected, "a gap that nobody spoke of");
                expected += 1;
            }
        }
    }
    assert!(lost > 0, "the socket took everything: the test needs more messages");
    assert_eq!(running.server.stats().messages_lost, lost);
    slow.expect_alive().await;
}

/// Answers each message with as many echoes as it asks for: the latest ones displace what waits.
struct Flood;

impl Handler for Flood {
    fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<Message>) {
        for message in messages.drain(..) {
            let payload: Value = message.payload().parse().expect("JSON");
            let count = payload["count"].as_u64().unwrap_or(1);
            for _ in 0..count {
                let queued = connection.send(Outgoing::new("echo", message.payload().clone())).expect("displaces");
                assert!(queued.displaced.len() <= 1);
            }
        }
    }
}

#[tokio::test]
async fn direct_messages_are_numbered_and_their_queue_is_bounded() {
    let config = Config { max_queue_bytes: 1 << 20, ..open() };
    let running = Running::with_handler(config, Flood).await;
    let mut client = running.ready_client("").await;
    client.send_json(&json!({ "t": "ask", "p": { "count": 3 } })).await;
    for sequence in 0..3 {
        let message = client.message().await;
        assert_eq!((message.kind(), message.sequence()), ("echo", Some(sequence)));
    }
    client.send_json(&json!({ "t": "ask", "p": { "count": 100_000 } })).await;
    let (mut echoes, mut lost) = (0, 0);
    while echoes + lost < 100_000 {
        let message = client.message().await;
        match message.kind() {
            "lost" => lost += payload(&message)["count"].as_u64().expect("a count"),
            _ => echoes += 1,
        }
    }
    assert!(lost > 50_000, "{lost}");
    assert_eq!(running.server.stats().queue_dropped_normal, lost);
    client.expect_alive().await;
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_stops_being_read() {
    let running = Running::start(Config { max_queue_bytes: 1 << 20, ..open() }).await;
    let mut raw = Raw::connect(running.addr()).await;
    let mut healthy = running.subscriber("", &["t"]).await;
    let pings = client_frame(0x81, br#"{"t":"ping","p":{}}"#).repeat(1000);
    let flood = async {
        loop {
            use tokio::io::AsyncWriteExt;
            if raw.stream.write_all(&pings).await.is_err() {
                return "closed";
            }
        }
    };
    // The socket blocks instead of filling the server's memory.
    let blocked = tokio::time::timeout(std::time::Duration::from_secs(2), flood).await;
    assert!(blocked.is_err() || blocked == Ok("closed"));
    running.publish("t", "k", &json!({}));
    assert_eq!(healthy.message().await.topic(), Some("t"));
    let stats = running.server.stats();
    // What a socket and the queue of one connection hold, not what was sent.
    assert!(stats.frames_received < 400_000, "{stats:?}");
}

#[tokio::test]
async fn answers_over_the_bound_end_the_connection_with_1013() {
    let config = Config { max_message_size: 2048, max_queue_bytes: 2048, ..open() };
    let running = Running::start(config).await;
    let mut raw = Raw::connect(running.addr()).await;
    let pings = client_frame(0x81, br#"{"t":"ping","p":{}}"#).repeat(100);
    tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &pings).await.expect("sent");
    assert_eq!(raw.close_code().await, 1013);
    assert_eq!(running.server.stats().slow_consumers, 1);
}

#[tokio::test]
async fn pings_are_answered_at_both_levels() {
    let running = Running::start(open()).await;
    let mut client = running.ready_client("").await;
    for kind in ["ping", "PING"] {
        client.send_json(&json!({ "t": kind, "p": { "timestamp": 5 } })).await;
        let pong = client.message().await;
        assert_eq!((pong.kind(), payload(&pong)["client_timestamp"].as_u64()), ("PONG", Some(5)));
    }
    use futures_util::SinkExt;
    client.socket.send(tungstenite::Message::Ping(vec![1, 2, 3].into())).await.expect("sent");
    let pong = tokio::time::timeout(PATIENCE, client.socket.next()).await.expect("in time").expect("open");
    assert_eq!(pong.expect("valid"), tungstenite::Message::Pong(vec![1, 2, 3].into()));
}
