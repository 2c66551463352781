//! Broken and hostile input: each kind gets its code, and nobody else notices.

mod common;

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use common::{Raw, Running, client_frame, code, open};
use flate2::{Compression, write::ZlibEncoder};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use wse_client_core::{
    rng::{Rng, Seed},
    security::{Dialect, KeyPair, Role},
};
use wse_server::{Carried, Frame};

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(b"C:".to_vec(), Compression::best());
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

/// Every bad frame that a connection survives, with its code.
fn survivable() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = zlib(br#"{"t":"k","p":{}}"#);
    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 0x40;
    let nested = format!(r#"{{"t":"k","p":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let mut deep_msgpack = b"M:\x82\xa1t\xa1k\xa1p".to_vec();
    deep_msgpack.extend([0x91; 10_000]);
    deep_msgpack.push(0xC0);
    vec![
        ("zip bomb", zlib(&vec![b' '; 64 << 20]), "INFLATED_TOO_LARGE"),
        ("truncated C:", good[..good.len() - 5].to_vec(), "BAD_COMPRESSION"),
        ("bit-flipped C:", flipped, "BAD_COMPRESSION"),
        ("empty C:", b"C:".to_vec(), "BAD_COMPRESSION"),
        ("truncated M:", b"M:\x82\xa1t\xa1k\xa1p".to_vec(), "BAD_MSGPACK"),
        ("M: with a reserved byte", b"M:\x82\xa1t\xa1k\xa1p\xc1".to_vec(), "BAD_MSGPACK"),
        ("M: that claims a huge map", b"M:\xdf\xff\xff\xff\xff".to_vec(), "BAD_MSGPACK"),
        ("M: nested too deep", deep_msgpack, "TOO_DEEP"),
        ("10,000 nested arrays", nested.into_bytes(), "TOO_DEEP"),
        ("E: without a key", [b"E:".to_vec(), vec![7; 60]].concat(), "NO_KEY"),
        ("unknown prefix", b"XYZ{\"t\":\"k\"}".to_vec(), "UNKNOWN_PREFIX"),
        ("broken JSON", b"{\"t\":\"k\",".to_vec(), "INVALID_JSON"),
        ("no envelope", b"{\"p\":{}}".to_vec(), "INVALID_ENVELOPE"),
    ]
}

#[tokio::test]
async fn bad_frames_are_refused_with_their_code_while_others_receive_undisturbed() {
    let running = Running::start(open()).await;
    let mut healthy = running.subscriber("", &["t"]).await;
    for (number, (name, frame, expected)) in survivable().into_iter().enumerate() {
        let mut bad = running.ready_client("").await;
        bad.send_binary(frame).await;
        assert_eq!(code(&bad.message().await), expected, "{name}");
        bad.expect_alive().await;
        running.publish("t", "k", &json!({ "n": number }));
        assert_eq!(common::payload(&healthy.message().await), json!({ "n": number }), "{name}");
    }
    assert_eq!(running.server.stats().frames_rejected, survivable().len() as u64);
}

#[tokio::test]
async fn sealed_frames_that_were_cut_or_changed_are_refused() {
    let running = Running::start(open()).await;
    let mut client = running.ready_client("").await;
    let mut rng = Rng::new(Seed::from_u64(7));
    let pair = KeyPair::generate(&mut rng);
    let hello = json!({ "features": { "encryption": true }, "encryption_public_key": pair.public_base64() });
    client.send_json(&json!({ "t": "client_hello", "p": hello })).await;
    let hello = common::payload(&client.message_of("server_hello").await);
    let key = hello["encryption_public_key"].as_str().expect("a key");
    let (mut sealer, mut opener) = pair.agree(key, Dialect::V2, Role::Client, &mut rng).expect("agreed");
    let good = sealer.seal(br#"{"t":"ping","p":{}}"#).expect("sealed").to_vec();
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    for bad in [flipped, good[..good.len() - 1].to_vec(), good[..10].to_vec()] {
        client.send_binary(bad).await;
        let frame = client.frame().await.expect("open");
        let error = wse_client_core::wire::decode(&frame, &Default::default(), Some(&mut opener)).expect("opens");
        assert_eq!(code(&error), "DECRYPT_FAILED");
    }
    client.send_binary(good).await;
    let frame = client.frame().await.expect("open");
    let pong = wse_client_core::wire::decode(&frame, &Default::default(), Some(&mut opener)).expect("opens");
    assert_eq!(pong.kind(), "PONG");
}

#[tokio::test]
async fn frames_that_end_a_connection_have_their_close_code() {
    let running = Running::start(open()).await;
    let mut healthy = running.subscriber("", &["t"]).await;
    let oversize = client_frame(0x82, &vec![b'x'; (1 << 20) + 1]);
    let half = vec![b'x'; 600 << 10];
    let cases: Vec<(&str, Vec<u8>, u16, Option<&str>)> = vec![
        ("oversize", oversize, 1009, Some("MESSAGE_TOO_LARGE")),
        (
            "oversize in fragments",
            [client_frame(0x02, &half), client_frame(0x80, &half)].concat(),
            1009,
            Some("MESSAGE_TOO_LARGE"),
        ),
        ("invalid UTF-8", client_frame(0x81, b"{\"t\":\"\xff\"}"), 1007, Some("INVALID_UTF8")),
        (
            "invalid UTF-8 in a fragment",
            [client_frame(0x01, b"{\"t"), client_frame(0x80, b"\xc3\x28")].concat(),
            1007,
            Some("INVALID_UTF8"),
        ),
        ("no mask", b"\x81\x02{}".to_vec(), 1002, None),
        ("reserved bit", client_frame(0xC1, b"{}"), 1002, None),
        ("unknown opcode", client_frame(0x83, b"{}"), 1002, None),
        ("fragmented ping", client_frame(0x09, b""), 1002, None),
        ("long ping", client_frame(0x89, &[0; 126]), 1002, None),
        ("continuation of nothing", client_frame(0x80, b"{}"), 1002, None),
        ("close with one byte", client_frame(0x88, b"\x03"), 1002, None),
        ("close with a bad code", client_frame(0x88, &1005u16.to_be_bytes()), 1002, None),
    ];
    for (number, (name, bytes, close, error)) in cases.into_iter().enumerate() {
        let mut raw = Raw::connect(running.addr()).await;
        raw.stream.write_all(&bytes).await.expect("sent");
        if let Some(expected) = error {
            let (_, message) = raw.read_frame().await.expect("an error first");
            let message = String::from_utf8(message).expect("text");
            assert!(message.contains(&format!("\"code\":\"{expected}\"")), "{name}: {message}");
            assert!(message.contains("\"recoverable\":false"), "{name}: {message}");
        }
        assert_eq!(raw.close_code().await, close, "{name}");
        running.publish("t", "k", &json!({ "n": number }));
        assert_eq!(common::payload(&healthy.message().await), json!({ "n": number }), "{name}");
    }
    assert_eq!(running.server.stats().protocol_violations, 12);
}

#[tokio::test]
async fn a_hundred_bad_frames_end_the_connection() {
    let running = Running::start(open()).await;
    let mut client = running.ready_client("").await;
    for _ in 0..100 {
        client.send_text("nonsense").await;
    }
    assert_eq!(client.closed().await.code, 1008);
}

#[tokio::test]
async fn fragments_with_control_frames_between_them_are_one_message() {
    let running = Running::start(open()).await;
    let mut raw = Raw::connect(running.addr()).await;
    let message = br#"{"t":"ping","p":{"timestamp":42}}"#;
    let mut bytes = client_frame(0x01, &message[..7]);
    bytes.extend(client_frame(0x89, b"hi"));
    bytes.extend(client_frame(0x00, b""));
    bytes.extend(client_frame(0x80, &message[7..]));
    // Byte by byte, so that every place to cut is met.
    for byte in bytes {
        raw.stream.write_all(&[byte]).await.expect("sent");
    }
    assert_eq!(raw.read_frame().await, Some((0xA, b"hi".to_vec())));
    let (_, pong) = raw.read_frame().await.expect("a pong");
    assert!(String::from_utf8_lossy(&pong).contains("\"client_timestamp\":42"));
}

#[tokio::test]
async fn a_close_is_echoed() {
    let running = Running::start(open()).await;
    for (payload, code) in [(&b"\x03\xe8bye"[..], 1000), (b"", 1005), (b"\x0f\xa0", 4000)] {
        let mut raw = Raw::connect(running.addr()).await;
        raw.write_frame(0x88, payload).await;
        assert_eq!(raw.close_code().await, code);
    }
}

/// On one thread, which whoever sends faster than the server reads would have for itself.
#[tokio::test]
async fn a_client_that_sends_without_end_leaves_time_for_others() {
    let running = Running::start(open()).await;
    let mut healthy = running.subscriber("", &["t"]).await;
    let raw = Raw::connect(running.addr()).await;
    let flooding = Arc::new(AtomicBool::new(true));
    let flood = std::thread::spawn({
        let (flooding, began) = (Arc::clone(&flooding), Instant::now());
        let mut stream = raw.stream.into_std().expect("a socket");
        stream.set_nonblocking(false).expect("a socket");
        let frames = client_frame(0x81, br#"{"t":"x","p":1}"#).repeat(4096);
        move || {
            while flooding.load(Ordering::Relaxed) && began.elapsed() < common::PATIENCE {
                stream.write_all(&frames).expect("read by the server");
            }
        }
    });
    let began = Instant::now();
    for number in 0..20 {
        running.publish("t", "k", &json!({ "n": number }));
        assert_eq!(common::payload(&healthy.message().await), json!({ "n": number }));
    }
    let took = began.elapsed();
    flooding.store(false, Ordering::Relaxed);
    assert!(took < common::PATIENCE / 2, "{took:?}");
    while !flood.is_finished() {
        tokio::task::yield_now().await;
    }
    flood.join().expect("did not panic");
}

/// What one frame asks for can be a thousand times as long. It is not all made before it is found to be too much.
#[tokio::test]
async fn a_batch_of_questions_with_long_answers_is_not_answered_in_full() {
    let server = wse_server::Server::builder(open()).bind().await.expect("binds");
    let mut client = server.attach(&http::HeaderMap::new(), "", None);
    let names: Vec<String> = (0..1000).map(|number| format!("{number:0>250}")).collect();
    let request = json!({ "t": "subscription_update", "p": { "topics": names } });
    client.on_frame(Frame::Text(request.to_string().into()));
    while client.take().is_some() {}
    let before = server.stats();
    let one = json!({ "t": "subscription_update", "p": { "topics": [names[0]] } });
    let batch = json!({ "t": "batch", "p": { "messages": vec![one; 1000] } });
    client.on_frame(Frame::Text(batch.to_string().into()));
    assert!(matches!(client.take(), Some(Carried::Close(close)) if close.code == 1013));
    assert_eq!(server.stats().slow_consumers - before.slow_consumers, 1);
    let metrics = server.http_api().respond(http::Request::get("/wse/metrics").body(Bytes::new()).expect("one")).await;
    let metrics = String::from_utf8_lossy(metrics.body()).into_owned();
    let received =
        metrics.lines().find(|line| line.contains("ws_messages_received_total{type=\"subscription_update\"}"));
    let count: usize = received.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a number");
    // Each answer names a thousand topics: some fit into what may wait, of which the default is 4 MiB.
    assert!((5..50).contains(&count), "{count}");
}
