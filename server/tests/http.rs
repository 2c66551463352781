//! The HTTP side of the port.

mod common;

use common::{Answer, PATIENCE, Running, closed, http, open};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use wse_server::Config;

const JSON: &str = "content-type: application/json";

async fn post(running: &Running, headers: &[&str], body: &str) -> Answer {
    http(running.addr(), "POST", "/wse/publish", headers, body.as_bytes()).await
}

#[tokio::test]
async fn health_tells_what_is_going_on() {
    let running = Running::start(open()).await;
    let _client = running.subscriber("", &["t"]).await;
    running.publish("t", "k", &json!({}));
    let answer = http(running.addr(), "GET", "/wse/health", &[], b"").await;
    assert_eq!(answer.status, 200);
    let health = answer.json();
    assert_eq!((&health["status"], &health["version"]), (&json!("ok"), &json!(wse_server::VERSION)));
    assert_eq!((&health["connections"], &health["topics"]), (&json!(1), &json!(1)));
    assert_eq!(health["counters"]["messages_published"], 1);
    assert!(health["uptime_seconds"].is_u64());
}

#[tokio::test]
async fn published_messages_arrive_in_both_forms() {
    let running = Running::start(open()).await;
    let mut client = running.subscriber("", &["t"]).await;
    let answer = post(&running, &[JSON], r#"{"topic":"t","type":"k","payload":{"z":1,"a":[2.50]}}"#).await;
    assert_eq!((answer.status, &answer.json()["delivered"]), (200, &json!(1)));
    let message = client.message().await;
    assert_eq!((message.kind(), message.id()), ("k", answer.json()["id"].as_str()));
    assert_eq!(message.payload().bytes(), br#"{"z":1,"a":[2.50]}"#);

    let envelope = r#"{"topic":"t","message":{"t":"k2","p":[1],"id":"mine","tp":"other"}}"#;
    let answer = post(&running, &["content-type: application/json; charset=utf-8"], envelope).await;
    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!("mine")));
    let message = client.message().await;
    assert_eq!((message.kind(), message.topic()), ("k2", Some("t")));

    let nobody = post(&running, &[JSON], r#"{"topic":"elsewhere","type":"k"}"#).await;
    assert_eq!((nobody.status, &nobody.json()["delivered"]), (200, &json!(0)));
}

#[tokio::test]
async fn wrong_bodies_are_refused_with_a_code_and_a_reason() {
    let running = Running::start(open()).await;
    let deep = format!(r#"{{"topic":"t","type":"k","payload":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    for (body, status, code, word) in [
        ("", 400, "INVALID_JSON", "EOF"),
        ("{", 400, "INVALID_JSON", ""),
        ("[]", 400, "INVALID_REQUEST", ""),
        (r#"{"type":"k"}"#, 400, "INVALID_REQUEST", "topic"),
        (r#"{"topic":"t"}"#, 400, "INVALID_REQUEST", "type"),
        (r#"{"topic":"t","type":"k","paylod":1}"#, 400, "INVALID_REQUEST", "paylod"),
        (r#"{"topic":"t","type":"k","message":{"t":"k"}}"#, 400, "INVALID_REQUEST", "either"),
        (r#"{"topic":"t","message":{"p":1}}"#, 400, "INVALID_ENVELOPE", "message"),
        (r#"{"topic":"","type":"k"}"#, 400, "INVALID_TOPIC", "topic"),
        (r#"{"topic":"a*","type":"k"}"#, 400, "INVALID_TOPIC", "topic"),
        (r#"{"topic":"t","type":""}"#, 400, "INVALID_REQUEST", "empty"),
        (r#"{"topic":"t","type":"server_ready"}"#, 400, "INVALID_REQUEST", "protocol"),
        (&deep, 400, "TOO_DEEP", "payload"),
    ] {
        let answer = post(&running, &[JSON], body).await;
        assert_eq!(answer.error(), (status, code.into()), "{body}");
        assert!(answer.body.contains(word), "{body}: {}", answer.body);
    }
    let large = format!(r#"{{"topic":"t","type":"k","payload":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(post(&running, &[JSON], &large).await.error(), (413, "MESSAGE_TOO_LARGE".into()));
    let body = r#"{"topic":"t","type":"k","payload":null}"#;
    for foreign in ["origin: http://evil.example", "origin: null"] {
        assert_eq!(post(&running, &[foreign], body).await.error(), (403, "ORIGIN_NOT_ALLOWED".into()), "{foreign}");
    }
    let bare = post(&running, &["content-type: text/plain"], body).await;
    assert!(bare.head.starts_with("http/1.1 200"), "programs other than browsers name no origin: {}", bare.head);
    let get = http(running.addr(), "GET", "/wse/publish", &[], b"").await;
    assert_eq!(get.error(), (405, "INVALID_REQUEST".into()));
    let unknown = http(running.addr(), "GET", "/wse/nothing", &[], b"").await;
    assert_eq!(unknown.error(), (404, "INVALID_REQUEST".into()));
}

#[tokio::test]
async fn the_api_key_is_asked_for_when_there_is_one() {
    let running = Running::start(Config { api_key: Some("a key for the tests".into()), ..closed() }).await;
    let body = r#"{"topic":"t","type":"k"}"#;
    assert_eq!(post(&running, &[JSON], body).await.error(), (401, "AUTH_REQUIRED".into()));
    let wrong = post(&running, &[JSON, "x-api-key: a key for the testz"], body).await;
    assert_eq!(wrong.error(), (401, "AUTH_FAILED".into()));
    for header in ["x-api-key: a key for the tests", "authorization: Bearer a key for the tests"] {
        assert_eq!(post(&running, &[JSON, header], body).await.status, 200, "{header}");
    }
}

#[tokio::test]
async fn without_a_key_publishing_is_for_open_servers_on_loopback_only() {
    let body = r#"{"topic":"t","type":"k"}"#;
    let with_tokens = Running::start(closed()).await;
    let answer = post(&with_tokens, &[JSON], body).await;
    assert_eq!(answer.error(), (403, "PUBLISH_DENIED".into()));
    assert!(answer.body.contains("--api-key"));
    let public = Running::start(Config { host: "0.0.0.0".into(), allow_open: true, ..open() }).await;
    let addr = ([127, 0, 0, 1], public.addr().port()).into();
    let answer = http(addr, "POST", "/wse/publish", &[JSON], body.as_bytes()).await;
    assert_eq!(answer.error(), (403, "PUBLISH_DENIED".into()));
}

#[tokio::test]
async fn static_files_are_served_with_their_type() {
    let folder = std::env::temp_dir().join(format!("wse-static-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("created");
    for (name, content) in [("index.html", "<p>app</p>"), ("a.wasm", "\0asm"), ("a.js", "1"), ("a.mjs", "2")] {
        std::fs::write(folder.join(name), content).expect("written");
    }
    let running = Running::start(Config { static_dir: Some(folder.clone()), ..open() }).await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/a.wasm", "application/wasm"),
        ("/a.js", "text/javascript"),
        ("/a.mjs", "application/javascript"),
    ] {
        let answer = http(running.addr(), "GET", path, &[], b"").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{path}: {}", answer.head);
    }
    for path in ["/missing", "/../Cargo.toml", "/%2e%2e/%2e%2e/etc/passwd"] {
        assert_eq!(http(running.addr(), "GET", path, &[], b"").await.status, 404, "{path}");
    }
    assert_eq!(http(running.addr(), "GET", "/wse/health", &[], b"").await.status, 200);
    std::fs::remove_dir_all(folder).expect("removed");
}

#[tokio::test]
async fn an_open_server_on_loopback_does_not_answer_to_names_of_others() {
    let running = Running::start(open()).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    for (path, line) in [("/wse/health", "x: y"), ("/console", "x: y"), ("/wse", upgrade)] {
        let answer = raw(&running, path, "evil.example", line).await;
        assert!(answer.starts_with("HTTP/1.1 421 ") && answer.contains("FORBIDDEN"), "{path}: {answer}");
        let answer = raw(&running, path, "localhost:1", line).await;
        // A program that was built without the console page says so.
        let taken = ["200 ", "101 ", "404 "].iter().any(|status| answer["HTTP/1.1 ".len()..].starts_with(status));
        assert!(taken, "{path}: {answer}");
    }
    assert_eq!(running.server.stats().refused_hosts, 3);
    let listed = Running::start(Config { allowed_hosts: vec!["api.example".into()], ..closed() }).await;
    assert!(raw(&listed, "/wse/health", "api.example:80", "x: y").await.starts_with("HTTP/1.1 200 "));
    assert!(raw(&listed, "/wse/health", "127.0.0.1", "x: y").await.starts_with("HTTP/1.1 421 "));
    let with_tokens = Running::start(closed()).await;
    assert!(raw(&with_tokens, "/wse/health", "anything", "x: y").await.starts_with("HTTP/1.1 200 "));
}

/// The beginning of the answer to a request with this host.
async fn raw(running: &Running, path: &str, host: &str, line: &str) -> String {
    let mut stream = TcpStream::connect(running.addr()).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{line}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let count = timeout(PATIENCE, stream.read(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&answer[..count]).into_owned()
}
