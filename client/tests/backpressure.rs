//! A slow application and a slow server: waiting instead of losing, and never for ever.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use support::{Server, events_until, eventually, messages};
use wse_client::{Client, Code, ConnectionState, Event, Limits, Outgoing, Payload, PoolConfig, SendError};

const COUNT: usize = 6000;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_stops_the_server_and_loses_nothing() {
    let server = Server::start().await;
    let mut client = Client::builder(&server.url)
        .topics(["t"])
        .event_buffer(8)
        .compression(None)
        .heartbeat(Duration::from_millis(100), Duration::from_millis(200))
        .connect()
        .await
        .unwrap();
    events_until(&mut client, "subscribed", |event| matches!(event, Event::Subscribed(_))).await;
    let filling = "x".repeat(4000);
    for number in 0..COUNT {
        server.publish("t", "n", &format!("{{\"n\":{number},\"filling\":\"{filling}\"}}"));
    }
    // Until only pongs go out; without backpressure, until everything is out.
    let mut written = server.frames_written();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = std::mem::replace(&mut written, server.frames_written());
        if written - before < 20 {
            break;
        }
    }
    assert!(written < COUNT, "the server is held up by the client that does not read, not {written} frames on");
    // Longer than the heartbeat allows for a silent server: while nothing is read, silence proves nothing.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client.state(), ConnectionState::Connected);
    client.send(Outgoing::new("meanwhile", Payload::EMPTY)).await.unwrap();
    eventually("commands go on", || server.received().iter().any(|text| text.starts_with("meanwhile"))).await;

    let mut next = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    while next < COUNT {
        assert!(Instant::now() < deadline, "only {next}");
        for event in client.next_batch(64).await {
            match event {
                Event::Message(message) => {
                    let payload: serde_json::Value = message.payload().parse().unwrap();
                    assert_eq!(payload["n"], next);
                    next += 1;
                }
                Event::Disconnected(end) => panic!("{end:?}"),
                _ => {}
            }
        }
    }
    assert_eq!(client.metrics().connections, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_nobody_reads_stays_small_and_still_closes() {
    let server = Server::start().await;
    let client = Client::builder(&server.url)
        .topics(["t"])
        .event_buffer(1)
        // While nothing is read, a ping that cannot be written is what shows that the server is gone.
        .heartbeat(Duration::from_millis(10), Duration::from_secs(1))
        .initial_delay(Duration::from_millis(1))
        .max_delay(Duration::from_millis(1))
        .start()
        .unwrap();
    for round in 1..=30 {
        eventually("connected", || client.metrics().connections == round).await;
        server.abort_all();
    }
    client.close().await;
    assert!(client.is_finished());
    let left = client.try_next_batch(usize::MAX);
    assert!(left.len() < 12, "news about the connection is merged: {left:#?}");
    assert!(matches!(left.last(), Some(Event::Disconnected(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_bytes_is_given_up() {
    let server = Server::start().await;
    // A server of its own, whose connection stops reading once the client is connected.
    let stuck = stuck_server().await;
    let client = Client::builder(stuck)
        .endpoint(&server.url)
        .pool(PoolConfig { preferred: Some(0), ..PoolConfig::default() })
        .send_buffer(64 * 1024)
        .write_timeout(Duration::from_millis(400))
        .compression(None)
        .heartbeat(Duration::from_secs(60), Duration::from_secs(60))
        .initial_delay(Duration::from_millis(10))
        .connect()
        .await
        .unwrap();
    let payload = Payload::new(&"x".repeat(32 * 1024)).unwrap();
    // Without a bound this loop never ends; with it, the connection breaks and the next endpoint takes over.
    let sending = async {
        while client.last_disconnect().is_none() {
            match client.send(Outgoing::new("bulk", payload.clone())).await {
                Ok(_) => {}
                Err(SendError::Refused(_)) => return,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sending).await.expect("the write timeout ends the wait");
    assert!(client.last_disconnect().unwrap().detail.contains("took no bytes"), "{:?}", client.last_disconnect());
    eventually("the other endpoint", || client.state() == ConnectionState::Connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn try_send_says_that_the_buffer_is_full() {
    let stuck = stuck_server().await;
    let client = Client::builder(stuck).send_buffer(1000).compression(None).connect().await.unwrap();
    let payload = Payload::new(&"x".repeat(500_000)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = loop {
        assert!(Instant::now() < deadline);
        match client.try_send(Outgoing::new("bulk", payload.clone())) {
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), error.is_retryable()), (Code::QueueFull, true));
    let started = Instant::now();
    client.close().await;
    assert!(started.elapsed() < Duration::from_secs(6), "closing is bounded");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_cannot_wait_counts_as_refused() {
    let stuck = stuck_server().await;
    let client = Client::builder(stuck).send_buffer(1000).compression(None).connect().await.unwrap();
    let message = Outgoing::new("bulk", Payload::new(&"x".repeat(500_000)).unwrap());
    // Until the buffers of the operating system are full, too.
    while let Ok(sent) = tokio::time::timeout(Duration::from_millis(300), client.send(message.clone())).await {
        sent.unwrap();
    }
    assert_eq!(client.send_now(message.clone()).unwrap(), None);
    let before = client.metrics();
    assert_eq!(before.messages_refused, 0, "who may wait was not refused");
    assert_eq!(client.try_send(message).unwrap_err().code(), Code::QueueFull);
    let after = client.metrics();
    assert_eq!((after.messages_refused, after.messages_accepted), (1, before.messages_accepted));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_ends_the_connection_with_1009() {
    let server = Server::start().await;
    let mut client = Client::builder(&server.url)
        .topics(["t"])
        .compression(None)
        .initial_delay(Duration::from_millis(10))
        .limits(Limits { max_frame: 10_000, ..Limits::default() })
        .connect()
        .await
        .unwrap();
    events_until(&mut client, "subscribed", |event| matches!(event, Event::Subscribed(_))).await;
    server.publish("t", "huge", &format!("\"{}\"", "x".repeat(20_000)));
    events_until(&mut client, "the end", |event| matches!(event, Event::Disconnected(_))).await;
    eventually("1009", || server.closes().iter().any(|close| close.code == 1009)).await;
    events_until(&mut client, "subscribed again", |event| matches!(event, Event::Subscribed(_))).await;
    server.publish("t", "small", "1");
    messages(&mut client, 1).await;
}

/// Greets like a legacy server, then never reads again.
async fn stuck_server() -> String {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/wse", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        drop(listener);
        let mut websocket = tokio_tungstenite::accept_async(tcp).await.unwrap();
        websocket.next().await.unwrap().unwrap();
        websocket.send(Message::text(r#"WSE{"t":"server_ready","p":{},"v":1}"#)).await.unwrap();
        std::future::pending::<()>().await;
    });
    url
}
