//! Who is let in, and what the others are told.

mod common;

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use common::{Client, PATIENCE, Running, SECRET, closed, code, http, open, payload, token};
use ring::hmac;
use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wse_server::{Acl, Config, TokenClaims, TokenKey, make_token};

fn made(secret: &str, change: impl FnOnce(&mut TokenClaims)) -> String {
    let mut claims = TokenClaims::new("alice", Duration::from_secs(60));
    change(&mut claims);
    make_token(&secret.into(), &claims).expect("made")
}

async fn connect(running: &Running, query: &str, headers: &[(&'static str, String)]) -> Client {
    let mut request = running.url(query).into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("a header value"));
    }
    Client::connect(request).await
}

/// The user that the server takes the client for.
async fn user(running: &Running, query: &str, headers: &[(&'static str, String)]) -> String {
    let ready = connect(running, query, headers).await.message().await;
    assert_eq!(ready.kind(), "server_ready", "{}", ready.payload().to_json());
    payload(&ready)["details"]["user_id"].as_str().expect("a user").to_owned()
}

/// Code and close code of a refusal.
async fn refused(running: &Running, query: &str, headers: &[(&'static str, String)]) -> (String, u16) {
    let mut client = connect(running, query, headers).await;
    let first = client.message().await;
    (code(&first), client.closed().await.code)
}

#[tokio::test]
async fn every_token_source_works_and_a_bad_one_falls_through_to_the_next() {
    let running = Running::start(closed()).await;
    let (good, bad) = (token(), "not.a.token");
    let cookie = |token: &str| ("cookie", format!("theme=dark; access_token={token}"));
    let bearer = |token: &str| ("authorization", format!("bEARER {token}"));
    for (query, headers) in [
        (String::new(), vec![cookie(&good)]),
        (String::new(), vec![bearer(&good)]),
        (format!("?token={good}"), vec![]),
        (String::new(), vec![cookie(bad), bearer(&good)]),
        (format!("?token={good}"), vec![cookie(bad), bearer(bad)]),
        (String::new(), vec![cookie("undefined"), bearer(&good)]),
    ] {
        assert_eq!(user(&running, &query, &headers).await, "alice", "{query} {headers:?}");
    }
    assert_eq!(running.server.stats().connections_accepted, 6);
}

#[tokio::test]
async fn refusals_have_a_code_and_close_with_4401() {
    let config = Config { jwt_issuer: Some("me".into()), jwt_audience: Some("here".into()), ..closed() };
    let running = Running::start(config).await;
    let right = |claims: &mut TokenClaims| {
        claims.issuer = Some("me".into());
        claims.audience = Some("here".into());
    };
    let bearer = |token: String| vec![("authorization", format!("Bearer {token}"))];
    assert_eq!(user(&running, "", &bearer(made(SECRET, right))).await, "alice");
    let failed = [
        // Made with no time to live at all, and the leeway of 30 s taken off by hand.
        bearer(expired()),
        bearer(made("another secret of at least thirty-two bytes", right)),
        bearer(made(SECRET, |claims| {
            right(claims);
            claims.audience = Some("there".into());
        })),
        bearer(made(SECRET, |claims| {
            right(claims);
            claims.issuer = None;
        })),
        bearer("x".repeat(9000)),
        vec![("cookie", "access_token=garbage".into())],
    ];
    for headers in &failed {
        assert_eq!(refused(&running, "", headers).await, ("AUTH_FAILED".into(), 4401), "{headers:?}");
    }
    for headers in [vec![], vec![("cookie", "access_token=null".into())], vec![("authorization", "Basic x".into())]] {
        assert_eq!(refused(&running, "", &headers).await, ("AUTH_REQUIRED".into(), 4401), "{headers:?}");
    }
    let stats = running.server.stats();
    assert_eq!((stats.refused_auth_failed, stats.refused_auth_required), (6, 3));
    assert_eq!(stats.connections_accepted, 1);
}

/// A correctly signed token that expired an hour ago: signature made here.
fn expired() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = json!({ "sub": "alice", "exp": now - 3600, "iss": "me", "aud": "here" });
    let encoded = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encoded(r#"{"alg":"HS256"}"#), encoded(&claims.to_string()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// A folder that goes with the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wse-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("made");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn keys_of_every_kind_work_and_are_replaced_while_the_server_runs() {
    const RSA: &str = include_str!("../src/auth/testdata/rsa.pem");
    const RSA_PUBLIC: &str = include_str!("../src/auth/testdata/rsa-public.pem");
    const P256: &str = include_str!("../src/auth/testdata/p256.pem");
    const P256_PUBLIC: &str = include_str!("../src/auth/testdata/p256-public.pem");
    let token = |pem: &str| {
        let key = TokenKey::from_pem(&pem.into()).expect("a key");
        key.sign(&TokenClaims::new("alice", Duration::from_secs(60))).expect("signed")
    };
    let folder = Folder::new("keys");
    let path = folder.file("keys.pem", RSA_PUBLIC);
    let running = Running::start(Config { jwt_keys: vec![path], ..closed() }).await;
    let with = |token: &str| format!("?token={token}");
    for good in [&token(RSA), &self::token()] {
        assert_eq!(user(&running, &with(good), &[]).await, "alice");
    }
    assert_eq!(refused(&running, &with(&token(P256)), &[]).await, ("AUTH_FAILED".into(), 4401));

    let client = running.ready_client(&with(&token(RSA))).await;
    folder.file("keys.pem", "");
    assert_eq!(running.server.reload_token_keys().expect_err("no keys").setting, "jwt_keys");
    assert_eq!(user(&running, &with(&token(RSA)), &[]).await, "alice");

    // Found by the server itself, within a moment.
    folder.file("keys.pem", P256_PUBLIC);
    tokio::time::timeout(PATIENCE, async {
        while connect(&running, &with(&token(P256)), &[]).await.message().await.kind() == "error" {}
    })
    .await
    .expect("noticed");
    assert_eq!(refused(&running, &with(&token(RSA)), &[]).await, ("AUTH_FAILED".into(), 4401));
    let mut client = client;
    client.expect_alive().await;
}

#[tokio::test]
async fn an_open_server_on_loopback_takes_pages_of_this_machine_alone() {
    let running = Running::start(open()).await;
    let origin = |origin: &str| vec![("origin", origin.to_owned())];
    user(&running, "", &origin("http://localhost:5173")).await;
    user(&running, "", &[]).await;
    for foreign in ["https://evil.example.com", "null"] {
        assert_eq!(refused(&running, "", &origin(foreign)).await, ("ORIGIN_NOT_ALLOWED".to_owned(), 4403), "{foreign}");
    }
}

#[tokio::test]
async fn foreign_origins_are_refused_with_4403_and_programs_without_one_pass() {
    let config = Config { allowed_origins: vec!["https://app.example.com".into()], ..open() };
    let running = Running::start(config).await;
    let origin = |origin: &str| vec![("origin", origin.to_owned())];
    user(&running, "", &origin("https://APP.example.com")).await;
    user(&running, "", &[]).await;
    let expected = ("ORIGIN_NOT_ALLOWED".to_owned(), 4403);
    assert_eq!(refused(&running, "", &origin("https://evil.example.com")).await, expected);
    assert_eq!(refused(&running, "", &origin("null")).await, expected);
    assert_eq!(running.server.stats().refused_origin, 2);
}

#[tokio::test]
async fn a_full_server_says_so_and_has_room_again_later() {
    let running = Running::start(Config { max_connections: 1, ..open() }).await;
    let mut first = running.ready_client("").await;
    assert_eq!(refused(&running, "", &[]).await, ("SERVER_FULL".into(), 1013));
    assert_eq!(running.server.stats().refused_full, 1);
    first.expect_alive().await;
    drop(first);
    let until = tokio::time::Instant::now() + PATIENCE;
    while running.server.connection_count() > 0 {
        assert!(tokio::time::Instant::now() < until, "the seat is not given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    user(&running, "", &[]).await;
}

#[tokio::test]
async fn wrong_query_parameters_are_refused_by_name() {
    let running = Running::start(open()).await;
    let mut client = running.client("?format=xml").await;
    let error = client.message().await;
    assert_eq!(code(&error), "INVALID_REQUEST");
    assert!(payload(&error)["message"].as_str().expect("text").contains("format"));
    assert_eq!(client.closed().await.code, 1008);
    assert_eq!(running.server.stats().refused_request, 1);
}

#[tokio::test]
async fn a_token_limits_what_a_client_subscribes_and_publishes() {
    let running = Running::start(closed()).await;
    let limited = made(SECRET, |claims| {
        claims.topics = Some(Acl { allow: vec!["a.*".into()], deny: vec!["a.secret".into()] });
        claims.publish = Some(Acl { allow: vec!["a.out".into()], deny: vec![] });
    });
    let mut client = running.ready_client(&format!("?token={limited}")).await;
    let answer = client.request("subscribe", &["a.x", "a.secret", "b", "*"]).await;
    assert_eq!(answer["success_topics"], json!(["a.x", "*"]));
    let refused = json!([{ "topic": "a.secret", "error": "TOPIC_DENIED" }, { "topic": "b", "error": "TOPIC_DENIED" }]);
    assert_eq!(answer["failed_topics"], refused);
    // The wide pattern was accepted, but brings only what is allowed.
    assert_eq!(running.publish("b", "k", &json!({})), 0);
    assert_eq!(running.publish("a.secret", "k", &json!({})), 0);
    assert_eq!(running.publish("a.y", "k", &json!({})), 1);
    assert_eq!(client.message().await.topic(), Some("a.y"));

    client.send_json(&json!({ "t": "k", "p": {}, "id": "m1", "tp": "a.in" })).await;
    let error = client.message().await;
    assert_eq!((code(&error), error.correlation_id()), ("PUBLISH_DENIED".into(), Some("m1")));
    client.send_json(&json!({ "t": "k", "p": {}, "id": "m2", "tp": "a.out" })).await;
    assert_eq!(client.message().await.id(), Some("m2"));
}

#[tokio::test]
async fn without_a_claim_a_token_publishes_nothing() {
    let running = Running::start(closed()).await;
    let mut client = running.ready_client(&format!("?token={}", token())).await;
    client.send_json(&json!({ "t": "k", "p": {}, "id": "m1", "tp": "t" })).await;
    let error = client.message().await;
    assert_eq!((code(&error), error.correlation_id()), ("PUBLISH_DENIED".into(), Some("m1")));
    client.expect_alive().await;
}

#[tokio::test]
async fn what_is_no_websocket_handshake_gets_an_http_answer() {
    let running = Running::start(open()).await;
    let plain = http(running.addr(), "GET", "/wse", &[], b"").await;
    assert_eq!(plain.error(), (426, "INVALID_REQUEST".into()));
    assert!(plain.head.contains("upgrade: websocket"), "{}", plain.head);
    let upgrade = ["connection: upgrade", "upgrade: websocket"];
    let old = http(running.addr(), "GET", "/wse", &[upgrade[0], upgrade[1], "sec-websocket-version: 8"], b"").await;
    assert_eq!(old.status, 426);
    assert!(old.head.contains("sec-websocket-version: 13"), "{}", old.head);
    let version = "sec-websocket-version: 13";
    let no_key = http(running.addr(), "GET", "/wse", &[upgrade[0], upgrade[1], version], b"").await;
    assert_eq!(no_key.error(), (400, "INVALID_REQUEST".into()));
}
