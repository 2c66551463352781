//! The console page: who gets it, what browsers are told about it, and what its token is good for.

mod common;

use common::{Answer, Running, closed, http, open};
use serde_json::json;
use wse_server::Config;

const KEY: &str = "an-api-key-for-tests";
const BEARER: &str = "authorization: Bearer an-api-key-for-tests";

fn keyed() -> Config {
    Config { api_key: Some(KEY.into()), ..closed() }
}

async fn get(running: &Running, path: &str) -> Answer {
    http(([127, 0, 0, 1], running.addr().port()).into(), "GET", path, &[], b"").await
}

async fn token(running: &Running) -> String {
    let answer = http(running.addr(), "POST", "/console/token", &[BEARER], b"").await;
    assert_eq!((answer.status, &answer.json()["required"]), (200, &json!(true)));
    answer.json()["token"].as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn the_page_may_load_nothing_from_elsewhere() {
    for config in [open(), keyed()] {
        let running = Running::start(config).await;
        let root = get(&running, "/").await;
        assert!(root.status == 307 && root.head.contains("location: /console"), "{}", root.head);
        let page = get(&running, "/console").await;
        // 404: this program was built without the page, and says so.
        assert!(page.body.contains("WSE console") && matches!(page.status, 200 | 404), "{}", page.body);
        assert_eq!(page.status == 404, page.body.contains("make console"), "{}", page.body);
        assert!(page.head.contains("content-type: text/html"));
        assert!(!page.body.contains("http:") && !page.body.contains("https:"), "{}", page.body);
        let line = |name: &str| page.head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let policy = line("content-security-policy: ");
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
        assert_eq!((line("x-content-type-options: "), line("referrer-policy: ")), ("nosniff", "no-referrer"));
        for part in page.body.split('"').filter(|part| part.starts_with("/console/")) {
            let file = get(&running, part).await;
            assert!(
                file.status == 200 && file.head.contains("x-content-type-options: nosniff"),
                "{part}: {}",
                file.head
            );
        }
        assert_eq!(get(&running, "/console/README.md").await.status, 404);
    }
}

#[tokio::test]
async fn a_server_that_nothing_guards_has_no_page() {
    let public = Config { host: "0.0.0.0".into(), allow_open: true, ..open() };
    for config in [closed(), public] {
        let running = Running::start(config).await;
        let page = get(&running, "/console").await;
        assert_eq!(page.status, 404);
        assert!(page.body.contains("--api-key") && page.head.contains("content-security-policy"), "{}", page.body);
    }
}

#[tokio::test]
async fn the_page_can_be_turned_off() {
    let running = Running::start(Config { console: false, ..open() }).await;
    for path in ["/", "/console", "/console/app.js"] {
        assert_eq!(get(&running, path).await.error(), (404, "INVALID_REQUEST".into()), "{path}");
    }
    let token = http(running.addr(), "POST", "/console/token", &[], b"").await;
    assert_eq!(token.error(), (404, "INVALID_REQUEST".into()));
}

#[tokio::test]
async fn its_token_reads_every_topic_and_publishes_nothing() {
    // What is asked of the tokens of others is asked of this one.
    let config = Config { jwt_issuer: Some("https://id.example".into()), jwt_audience: Some("wse".into()), ..keyed() };
    let running = Running::start(config).await;
    let mut page = running.subscriber(&format!("?token={}", token(&running).await), &["news", "room:*"]).await;
    running.publish("news", "k", &json!(1));
    running.publish("room:7", "k", &json!(2));
    assert_eq!((page.message().await.topic(), page.message().await.topic()), (Some("news"), Some("room:7")));
    page.send_json(&json!({ "t": "k", "tp": "news", "p": 3, "id": "x" })).await;
    assert_eq!(common::code(&page.message_of("error").await), "PUBLISH_DENIED");
}

#[tokio::test]
async fn a_secret_from_a_file_of_keys_signs_too() {
    let folder = std::env::temp_dir().join(format!("wse-console-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("created");
    let path = folder.join("keys.json");
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQ";
    let set = json!({ "keys": [{ "kty": "oct", "alg": "HS256", "kid": "one", "k": secret }] });
    std::fs::write(&path, set.to_string()).expect("written");
    let running = Running::start(Config { jwt_secret: None, jwt_keys: vec![path], ..keyed() }).await;
    running.subscriber(&format!("?token={}", token(&running).await), &["news"]).await;
    std::fs::remove_dir_all(folder).expect("removed");
}

#[tokio::test]
async fn wrong_keys_are_counted() {
    let running = Running::start(keyed()).await;
    for _ in 0..3 {
        let answer = http(running.addr(), "POST", "/console/token", &["x-api-key: another"], b"").await;
        assert_eq!(answer.error(), (401, "AUTH_FAILED".into()));
    }
    assert_eq!(http(running.addr(), "POST", "/console/token", &[], b"").await.error(), (401, "AUTH_REQUIRED".into()));
    assert_eq!(running.server.stats().refused_api_keys, 3);
}
