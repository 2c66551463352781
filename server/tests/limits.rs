//! What one client, one address, and all together may take.

mod common;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use common::{Answer, Client, PATIENCE, Raw, Running, code, http as request, open, payload};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wse_server::{Carried, Code, Config, ConnectionHandle, Handler, Message, Outgoing, Payload, SendRefused};

async fn from_address(running: &Running, address: &str) -> Client {
    let mut request = running.url("").into_client_request().expect("a request");
    request.headers_mut().insert("x-forwarded-for", address.parse().expect("a value"));
    Client::connect(request).await
}

#[tokio::test]
async fn one_address_gets_its_connections_and_others_theirs() {
    let config = Config { max_connections_per_address: Some(2), trusted_proxies: vec!["127.0.0.0/8".into()], ..open() };
    let running = Running::start(config).await;
    let mut first = from_address(&running, "192.0.2.1").await;
    assert_eq!(first.message().await.kind(), "server_ready");
    let mut second = from_address(&running, "6.6.6.6, 192.0.2.1").await;
    assert_eq!(second.message().await.kind(), "server_ready");
    let (code, closed) = from_address(&running, "192.0.2.1").await.error_and_close().await;
    assert_eq!((&*code, closed.code), ("SERVER_FULL", 1013));
    assert_eq!(from_address(&running, "192.0.2.2").await.message().await.kind(), "server_ready");
    let stats = running.server.stats();
    assert_eq!((stats.refused_address, stats.refused_full), (1, 0), "the server itself has room");
    drop(first);
    timeout(PATIENCE, async {
        while from_address(&running, "192.0.2.1").await.message().await.kind() != "server_ready" {}
    })
    .await
    .expect("a place is free again");
}

#[tokio::test]
async fn sockets_that_say_nothing_are_bounded_and_time_out() {
    let config = Config { max_handshakes: 4, handshake_timeout: Duration::from_millis(300), ..open() };
    let running = Running::start(config).await;
    let mut connected = Raw::connect(running.addr()).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(running.addr()).await.expect("connects"));
    }
    let ends = async |stream: &mut TcpStream| {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("ends in time");
        rest
    };
    let mut fifth = TcpStream::connect(running.addr()).await.expect("connects");
    let began = Instant::now();
    assert!(ends(&mut fifth).await.is_empty());
    assert!(began.elapsed() < Duration::from_millis(250), "closed at once");
    assert_eq!(running.server.stats().refused_sockets, 1);
    connected.write_frame(0x89, b"x").await;
    assert_eq!(connected.read_frame().await, Some((10, b"x".to_vec())), "who is in is not touched");
    for stream in &mut silent {
        ends(stream).await;
    }
    assert_eq!(request(running.addr(), "GET", "/wse/ready", &[], b"").await.status, 200, "there is room again");
}

#[tokio::test]
async fn who_reads_no_answer_is_given_up() {
    let folder = std::env::temp_dir().join(format!("wse-limits-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("created");
    std::fs::write(folder.join("large.bin"), vec![0; 32 << 20]).expect("written");
    let config = Config { write_timeout: Duration::from_millis(200), static_dir: Some(folder.clone()), ..open() };
    let running = Running::start(config).await;
    let mut stream = TcpStream::connect(running.addr()).await.expect("connects");
    stream.write_all(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    timeout(PATIENCE, async {
        while running.server.stats().http_errors == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("given up in time");
    std::fs::remove_dir_all(folder).expect("removed");
}

#[tokio::test]
async fn who_reads_no_messages_is_given_up() {
    let running = Running::start(Config { write_timeout: Duration::from_millis(200), ..open() }).await;
    let _stuck = running.subscriber("?compression=false", &["t"]).await;
    for _ in 0..3000 {
        running.publish("t", "k", &json!({ "filler": "x".repeat(10_000) }));
    }
    timeout(PATIENCE, async {
        while running.server.stats().slow_consumers == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("given up in time");
}

#[tokio::test]
async fn too_fast_a_client_is_warned_refused_and_sent_away() {
    let running = Running::start(Config { inbound_rate: Some(10.0), inbound_burst: 20, ..open() }).await;
    let mut client = running.client("").await;
    let ready = payload(&client.message().await);
    assert_eq!(ready["details"]["limits"]["rate_limit_capacity"], 20);
    for number in 0..21 {
        client.send_json(&json!({ "t": "k", "tp": "t", "p": {}, "id": number.to_string() })).await;
    }
    let warning = payload(&client.message_of("rate_limit_warning").await);
    assert_eq!((&warning["limit"], &warning["window"]), (&json!(10.0), &json!(1.0)));
    let refused = client.message_of("error").await;
    assert_eq!((&*code(&refused), refused.correlation_id()), ("RATE_LIMITED", Some("20")));
    assert!(payload(&refused)["retry_after"].as_f64().expect("a number") <= 0.1);
    assert_eq!(running.server.stats().messages_published, 20);
    client.expect_alive().await;
    for _ in 0..60 {
        client.send_json(&json!({ "t": "k", "tp": "t", "p": {} })).await;
    }
    assert_eq!(client.closed().await.code, 4429);
    assert!(running.server.stats().rate_limited > 1);
    running.ready_client("").await.expect_alive().await;
}

#[tokio::test]
async fn a_slow_rate_out_makes_messages_wait_and_loses_none() {
    let running = Running::start(Config { outbound_rate: Some(100.0), outbound_burst: 10, ..open() }).await;
    let mut client = running.subscriber("", &["t"]).await;
    let began = Instant::now();
    for number in 0..40 {
        running.publish("t", "k", &json!({ "n": number }));
    }
    for number in 0..40 {
        assert_eq!(payload(&client.message().await), json!({ "n": number }));
        if number == 9 {
            assert!(began.elapsed() < Duration::from_millis(250), "the burst goes at once");
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
    client.expect_alive().await;
}

#[tokio::test]
async fn subscriptions_of_one_connection_are_bounded() {
    let running = Running::start(Config { max_topics_per_connection: 3, ..open() }).await;
    let mut client = running.subscriber("", &["a", "b", "c"]).await;
    let answer = client.request("subscribe", &["d"]).await;
    assert_eq!(answer["failed_topics"][0]["error"], "TOO_MANY_TOPICS");
    assert_eq!(client.request("unsubscribe", &["a"]).await["success"], true);
    client.subscribe(&["d"]).await;
}

/// Keeps the connections, so that a test can send to them.
#[derive(Clone, Default)]
struct Handles(Arc<Mutex<Vec<ConnectionHandle>>>);

impl Handler for Handles {
    fn on_messages(&self, _: &ConnectionHandle, messages: &mut Vec<Message>) {
        messages.clear();
    }

    fn on_connect(&self, connection: &ConnectionHandle) {
        self.0.lock().expect("no panic").push(connection.clone());
    }
}

/// Thirty messages of a kind, of which ten may go at once: the others take 200 ms.
async fn expect_paced(client: &mut Client, kind: impl Fn(&str) -> bool, began: Instant) {
    for _ in 0..30 {
        let message = timeout(PATIENCE, client.message()).await.expect("in time");
        assert!(kind(message.kind()), "{}", message.kind());
    }
    assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
}

fn paced() -> Config {
    Config { outbound_rate: Some(100.0), outbound_burst: 10, ..open() }
}

#[tokio::test]
async fn states_of_topics_keep_to_the_rate_out() {
    let running = Running::start(paced()).await;
    for number in 0..30 {
        running.publish(&format!("t{}", number % 3), &format!("k{number}_snapshot"), &json!({}));
    }
    let mut client = running.ready_client("").await;
    let began = Instant::now();
    client.send_json(&json!({ "t": "subscription_update", "p": { "topics": ["t0", "t1", "t2"] } })).await;
    assert_eq!(client.message().await.kind(), "subscription_update");
    expect_paced(&mut client, |kind| kind.ends_with("_snapshot"), began).await;
}

#[tokio::test]
async fn messages_of_a_group_keep_to_the_rate_out() {
    let running = Running::start(paced()).await;
    let mut client = running.ready_client("").await;
    client.send_json(&json!({ "t": "subscription_update", "p": { "topics": ["t"], "group": "g" } })).await;
    assert_eq!(client.message().await.kind(), "subscription_update");
    let began = Instant::now();
    for number in 0..30 {
        running.publish("t", "k", &json!({ "n": number }));
    }
    expect_paced(&mut client, |kind| kind == "k", began).await;
}

#[tokio::test]
async fn presence_notices_keep_to_the_rate_out() {
    let running = Running::start(paced()).await;
    let mut client = running.subscriber("", &["t"]).await;
    let mut other = running.ready_client("").await;
    let began = Instant::now();
    for number in 0..30 {
        let request = json!({ "topics": ["t"], "presence": { "t": { "n": number } } });
        other.send_json(&json!({ "t": "subscription_update", "p": request })).await;
    }
    expect_paced(&mut client, |kind| kind.starts_with("presence_"), began).await;
}

#[tokio::test]
async fn messages_to_one_client_keep_to_the_rate_out() {
    let handles = Handles::default();
    let running = Running::with_handler(paced(), handles.clone()).await;
    let mut client = running.ready_client("").await;
    let handle = handles.0.lock().expect("no panic").last().expect("the client").clone();
    let began = Instant::now();
    for _ in 0..30 {
        handle.send(Outgoing::new("k", Payload::EMPTY)).expect("there is room");
    }
    expect_paced(&mut client, |kind| kind == "k", began).await;
}

async fn publish_over_http(running: &Running) -> Answer {
    request(running.addr(), "POST", "/wse/publish", &[], br#"{"topic":"t","type":"k"}"#).await
}

#[tokio::test]
async fn short_memory_refuses_what_is_new_and_then_closes_the_longest_queue() {
    let config = Config {
        max_message_size: 64 << 10,
        history_bytes: 1 << 20,
        memory_budget: 8 << 20,
        max_queue_bytes: 64 << 20,
        ..open()
    };
    let handles = Handles::default();
    let running = Running::with_handler(config, handles.clone()).await;
    let mut other = running.subscriber("", &["t"]).await;
    // Carried by nobody, so that nothing of its queue goes anywhere.
    let mut stuck = running.server.attach(&http::HeaderMap::new(), "compression=false", None);
    let handle = handles.0.lock().expect("no panic").last().expect("the second client").clone();
    let large = Payload::new(&"x".repeat(60 << 10)).expect("plain JSON");
    let refused = (0..10_000).find_map(|_| handle.send(Outgoing::new("large", large.clone())).err());
    assert_eq!(refused, Some(SendRefused::OutOfMemory));
    assert!(running.server.memory_held() >= 8 << 20);

    let error = running.server.publish("t", Outgoing::new("k", Payload::EMPTY)).expect_err("refused");
    assert_eq!(error.code(), Code::ServerFull);
    assert_eq!(publish_over_http(&running).await.error(), (503, "SERVER_FULL".into()));
    let (code, closed) = running.client("").await.error_and_close().await;
    assert_eq!((&*code, closed.code), ("SERVER_FULL", 1013));
    let stats = running.server.stats();
    assert_eq!((stats.refused_memory, stats.sends_refused, stats.publishes_refused), (3, 1, 2));
    assert_eq!((stats.refused_full, stats.refused_address), (1, 0));

    // A reader that is slower than what comes for it: it stays full, until it is told to go.
    let close = timeout(PATIENCE, async {
        loop {
            while handle.send(Outgoing::new("large", large.clone())).is_ok() {}
            match stuck.take() {
                Some(Carried::Close(close)) => return close,
                Some(Carried::Frame(_)) | None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let close = close.await.expect("told to go in time");
    assert_eq!((close.code, &*close.reason), (1013, "SLOW_CONSUMER"));
    assert_eq!(running.server.stats().slow_consumers, 1);
    assert!(running.server.memory_held() < 1 << 20, "freed at once");
    assert_eq!(publish_over_http(&running).await.status, 200);
    assert_eq!(other.message().await.kind(), "k", "others are not touched");
    running.ready_client("").await;
    drop((other, stuck));
    timeout(PATIENCE, running.server.drain()).await.expect("in time");
    let (held, by_topics) = (running.server.memory_held(), running.server.topic_bytes());
    assert_eq!(held, by_topics, "what was counted for queues is counted back");
}

/// A message that does not fit into a frame in one of its forms would end the connection of everyone who reads it, again
/// and again, as it is in the history.
#[tokio::test]
async fn what_no_client_could_read_is_not_published() {
    let limit = 64 << 10;
    let running = Running::start(Config { max_message_size: limit, ..open() }).await;
    let mut reader = running.subscriber("", &["t"]).await;
    let mut packed = running.subscriber("?format=msgpack", &["t"]).await;
    let text = |len: usize| Payload::new(&"x".repeat(len)).expect("plain JSON");
    let hex = |len: usize| {
        let len = u16::try_from(len).expect("short");
        Payload::from_msgpack([&[0xC5][..], &len.to_be_bytes(), &vec![0xFF; len.into()]].concat()).expect("msgpack")
    };
    let publish = |payload: Payload| running.server.publish("t", Outgoing::new("k", payload));
    for large in
        [text(limit - 100), text(limit), hex(limit / 2), Payload::new(&vec!["\u{1}"; limit / 2]).expect("JSON")]
    {
        assert_eq!(publish(large).expect_err("too large").code(), Code::MessageTooLarge);
    }
    // As msgpack these numbers take twice as much.
    let numbers = Payload::from_json(format!("[{}1.5]", "1.5,".repeat(15_000))).expect("JSON");
    for fits in [text(limit - 1000), hex(limit / 2 - 1000), numbers] {
        publish(fits).expect("there is room");
        for client in [&mut reader, &mut packed] {
            let frame = client.frame().await.expect("open");
            assert!(frame.len() <= limit, "{}", frame.len());
        }
    }
}
