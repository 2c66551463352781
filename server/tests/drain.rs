//! Sending clients away before a shutdown.

mod common;

use std::time::{Duration, Instant};

use common::{PATIENCE, Running, http as request, open, payload};
use serde_json::json;
use tokio::time::timeout;
use wse_server::{Carried, Config};

fn config() -> Config {
    Config { drain_window: Duration::from_millis(500), ..open() }
}

fn draining(running: &Running) -> tokio::task::JoinHandle<usize> {
    let server = running.server.clone();
    tokio::spawn(async move { server.drain().await })
}

#[tokio::test]
async fn readiness_turns_red_before_anybody_is_sent_away() {
    let running = Running::start(Config { drain_delay: Duration::from_millis(400), ..config() }).await;
    let mut client = running.subscriber("", &["t"]).await;
    let ready = request(running.addr(), "GET", "/wse/ready", &[], b"").await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true, "stage": "serving" })));

    let began = Instant::now();
    let drain = draining(&running);
    while request(running.addr(), "GET", "/wse/ready", &[], b"").await.status == 200 {
        tokio::task::yield_now().await;
    }
    let red = request(running.addr(), "GET", "/wse/ready", &[], b"").await;
    assert_eq!((red.status, red.json()), (503, json!({ "ready": false, "stage": "leaving" })));
    // Everything works on: the old client, new ones, publications.
    let mut late = running.subscriber("", &["t"]).await;
    assert_eq!(running.publish("t", "k", &json!({ "n": 1 })), 2);
    assert_eq!((client.message().await.kind(), late.message().await.kind()), ("k", "k"));

    for client in [&mut client, &mut late] {
        let told = client.message_of("draining").await;
        assert!(began.elapsed() >= Duration::from_millis(400), "not before the delay is over");
        assert!(payload(&told)["retry_after"].as_u64().expect("a number") >= 1000);
        assert_eq!(payload(&told)["window"], 500);
        assert_eq!(client.closed().await.code, 4300);
    }
    drop((client, late));
    assert_eq!(timeout(PATIENCE, drain).await.expect("in time").expect("no panic"), 0);
    assert_eq!(running.server.stats().connections_drained, 2);
}

#[tokio::test]
async fn clients_go_in_batches_and_come_back_after_the_last_one_has_gone() {
    let running = Running::start(config()).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(running.ready_client("").await);
    }
    let began = Instant::now();
    let drain = draining(&running);
    let mut returns = Vec::new();
    let mut ends = Vec::new();
    for mut client in clients {
        let told = payload(&client.message_of("draining").await);
        returns.push(began.elapsed() + Duration::from_millis(told["retry_after"].as_u64().expect("a number")));
        assert_eq!(client.closed().await.code, 4300);
        ends.push(began.elapsed());
    }
    // Five batches, 100 ms apart; the first connections are the first to go.
    assert!(ends[0] < ends[19] && *ends.last().expect("some") >= Duration::from_millis(350), "{ends:?}");
    assert!(
        returns.iter().all(|&back| back >= Duration::from_millis(1350)),
        "all after the last has gone: {returns:?}"
    );
    assert_eq!(timeout(PATIENCE, drain).await.expect("in time").expect("no panic"), 0);
}

#[tokio::test]
async fn with_a_handover_clients_may_come_back_at_once() {
    let running = Running::start(Config { drain_handover: true, ..config() }).await;
    let mut client = running.ready_client("").await;
    let _drain = draining(&running);
    let told = payload(&client.message_of("draining").await);
    assert_eq!((&told["retry_after"], &told["window"]), (&json!(0), &json!(100)));
}

#[tokio::test]
async fn who_comes_in_during_the_drain_is_sent_away_too() {
    let running = Running::start(config()).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(running.ready_client("").await);
    }
    let _drain = draining(&running);
    clients[0].message_of("draining").await;
    let mut late = running.client("").await;
    assert_eq!(late.message().await.kind(), "server_ready");
    late.message_of("draining").await;
    assert_eq!(late.closed().await.code, 4300);
}

#[tokio::test]
async fn what_is_queued_is_delivered_first() {
    let running = Running::start(config()).await;
    let mut client = running.subscriber("", &["t"]).await;
    for number in 0..500 {
        running.publish("t", "k", &json!({ "n": number }));
    }
    let _drain = draining(&running);
    for number in 0..500 {
        assert_eq!(payload(&client.message().await), json!({ "n": number }));
    }
    assert_eq!(client.message().await.kind(), "draining");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_in_the_end() {
    let running = Running::start(Config { shutdown_timeout: Duration::from_millis(200), ..config() }).await;
    let _stuck = running.subscriber("?compression=false", &["t"]).await;
    for _ in 0..3000 {
        running.publish("t", "k", &json!({ "filler": "x".repeat(10_000) }));
    }
    assert_eq!(timeout(PATIENCE, draining(&running)).await.expect("in time").expect("no panic"), 1);
}

#[tokio::test]
async fn attached_connections_are_sent_away_like_others() {
    let running = Running::start(config()).await;
    let mut attached = running.server.attach(&http::HeaderMap::new(), "", None);
    let drain = draining(&running);
    let mut said = Vec::new();
    let close = loop {
        timeout(PATIENCE, attached.ready()).await.expect("something in time");
        match attached.take() {
            Some(Carried::Frame(frame)) => said.push(String::from_utf8_lossy(frame.bytes()).into_owned()),
            Some(Carried::Close(close)) => break close,
            None => {}
        }
    };
    assert_eq!(close.code, 4300);
    assert!(said.last().expect("some").contains("\"draining\""), "{said:?}");
    assert!(!drain.is_finished(), "the server waits for it");
    drop(attached);
    assert_eq!(timeout(PATIENCE, drain).await.expect("in time").expect("no panic"), 0);
}
