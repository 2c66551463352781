//! Hub and peer know no socket: thousands of connections driven through memory.

use wse_client_core::{
    error::close,
    io::{Close, Frame},
    wire::{self, Encoding, Head, Payload},
};
use wse_server::{Attached, Carried, Config, Outgoing, Server};

async fn server(config: Config) -> Server {
    Server::builder(Config { port: 0, ..config }).bind().await.expect("a free port")
}

fn attach(server: &Server) -> Attached {
    server.attach(&http::HeaderMap::new(), "client_version=1.0", None)
}

fn subscribe(connection: &mut Attached, topic: &str) {
    let payload = Payload::new(&serde_json::json!({ "action": "subscribe", "topics": [topic] })).expect("plain JSON");
    let head = Head { kind: "subscription_update", id: Some("s"), ..Head::default() };
    connection.on_frame(wire::encode(&head, &payload, Encoding::Text, None));
}

/// Everything that waits, as text.
fn said(connection: &mut Attached) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(Carried::Frame(frame)) = connection.take() {
        said.push(String::from_utf8_lossy(frame.bytes()).into_owned());
    }
    said
}

#[tokio::test]
async fn two_thousand_connections_get_every_publication_in_order() {
    let server = server(Config::default()).await;
    let mut all: Vec<Attached> = (0..2000).map(|_| attach(&server)).collect();
    for connection in &mut all {
        subscribe(connection, "news");
        said(connection);
    }
    for number in 0..20 {
        let payload = Payload::new(&serde_json::json!({ "n": number })).expect("plain JSON");
        let published = server.publish("news", Outgoing::new("item", payload)).expect("there is room");
        assert_eq!(published.delivered, 2000);
    }
    for connection in &mut all {
        let heard = said(connection);
        assert_eq!(heard.len(), 20);
        assert!(heard.iter().enumerate().all(|(n, text)| text.contains(&format!("{{\"n\":{n}}}"))), "{heard:?}");
    }
    assert_eq!(server.stats().messages_delivered, 40_000);
    drop(all);
    assert_eq!(server.connection_count(), 0);
    assert_eq!(server.stats().connections_closed, 2000);
}

#[tokio::test]
async fn a_publication_makes_a_waiting_connection_ready() {
    let server = server(Config::default()).await;
    let mut connection = attach(&server);
    subscribe(&mut connection, "news");
    said(&mut connection);
    let publish = async {
        tokio::task::yield_now().await;
        server.publish("news", Outgoing::new("item", Payload::EMPTY)).expect("there is room");
    };
    tokio::join!(connection.ready(), publish);
    assert_eq!(said(&mut connection).len(), 1);
}

#[tokio::test]
async fn who_may_not_come_in_is_told_and_closed() {
    let secret = "a secret of at least thirty-two bytes".into();
    let server = server(Config { jwt_secret: Some(secret), ..Config::default() }).await;
    let mut connection = attach(&server);
    connection.ready().await;
    let Some(Carried::Frame(error)) = connection.take() else { panic!("the reason comes first") };
    assert!(String::from_utf8_lossy(error.bytes()).contains("AUTH_REQUIRED"));
    let Some(Carried::Close(told)) = connection.take() else { panic!("then the close") };
    assert_eq!(told.code, close::AUTH);
    assert_eq!(connection.take(), None, "once");
    assert!(connection.is_closed());
}

#[tokio::test]
async fn what_a_client_does_wrong_is_counted_and_its_end_is_noted() {
    let server = server(Config::default()).await;
    let mut connection = attach(&server);
    connection.on_frame(Frame::Binary("?".into()));
    assert!(said(&mut connection).iter().any(|text| text.contains("UNKNOWN_PREFIX")));
    assert_eq!(server.stats().frames_rejected, 1);
    connection.on_closed(Close::new(1000, "bye"));
    assert!(connection.is_closed());
    drop(connection);
    assert_eq!(server.stats().connections_closed, 1);
}

/// Messages that a busy connection was not told of yet go out before the close.
#[tokio::test]
async fn a_shutdown_sends_what_was_held_back() {
    let flush_interval = std::time::Duration::from_secs(3600);
    let server = server(Config { flush_interval, ..Config::default() }).await;
    let mut connection = attach(&server);
    subscribe(&mut connection, "news");
    said(&mut connection);
    server.publish("news", Outgoing::new("first", Payload::EMPTY)).expect("there is room");
    assert_eq!(said(&mut connection).len(), 1);
    server.publish("news", Outgoing::new("second", Payload::EMPTY)).expect("there is room");
    server.shutdown(std::time::Duration::ZERO).await;
    let Some(Carried::Frame(frame)) = connection.take() else { panic!("the second comes before the close") };
    assert!(String::from_utf8_lossy(frame.bytes()).contains("second"));
    assert!(matches!(connection.take(), Some(Carried::Close(close)) if close.code == close::GOING_AWAY));
}
