//! The description at `/wse/openapi.json`, and a server that is held to it.

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::{Answer, PATIENCE, Running, closed, http, open};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use wse_server::Config;

const KEY: &str = "an-api-key-for-tests";
const BEARER: &str = "authorization: Bearer an-api-key-for-tests";
const X_KEY: &str = "x-api-key: an-api-key-for-tests";
const WRONG: &str = "x-api-key: another-key";
const JSON: &str = "content-type: application/json";

/// The description, and what of it was seen.
struct Description {
    document: Value,
    seen: BTreeSet<(String, String)>,
}

impl Description {
    async fn of(running: &Running) -> Self {
        let answer = http(running.addr(), "GET", "/wse/openapi.json", &[], b"").await;
        assert_eq!(answer.status, 200);
        Self { document: answer.json(), seen: BTreeSet::new() }
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let path = path.split('?').next().expect("a path");
        let operation = &self.document["paths"][path][method.to_ascii_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not described");
        operation
    }

    /// Whether a value fits a schema of the document.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).expect("a usable schema");
        let problems: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    /// Checks an answer: its status is described, and its body is as it is described.
    fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let operation = self.operation(method, path);
        let status = answer.status.to_string();
        let described = &operation["responses"][&status];
        assert!(described.is_object(), "{method} {path} answers {status}, which is not described: {}", answer.body);
        let (kind, content) = described["content"].as_object().expect("content").iter().next().expect("a type");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{method} {path}: {}", answer.head);
        let body = if kind == "application/json" { answer.json() } else { json!(answer.body) };
        if let Err(problems) = self.fits(&content["schema"], &body) {
            panic!("{method} {path} {status}: {problems}\n{body}");
        }
        let name = operation["operationId"].as_str().expect("an id").to_owned();
        self.seen.insert((name, status));
    }

    /// Sends a request and checks its answer; its body must be as described exactly when the server takes it.
    async fn ask(&mut self, running: &Running, request: &str, headers: &[&str], body: &str, status: u16) -> Answer {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let answer = http(running.addr(), method, path, headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{request} {body}: {}", answer.body);
        let schema = &self.operation(method, path)["requestBody"]["content"]["application/json"]["schema"];
        if status == 200 && !schema.is_null() {
            let body = serde_json::from_str(body).expect("JSON");
            self.fits(schema, &body).unwrap_or_else(|problems| panic!("{request} takes {body}, but: {problems}"));
        }
        self.check(method, path, &answer);
        answer
    }
}

fn keyed() -> Config {
    Config { api_key: Some(KEY.into()), handshake_timeout: Duration::from_millis(500), ..closed() }
}

/// A request whose body does not come.
async fn unsent_body(api: &mut Description, running: &Running, path: &str) {
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\n{BEARER}\r\ncontent-length: 10\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(running.addr()).await.expect("connects");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    assert_eq!(status, 408);
    api.check("POST", path, &Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() });
}

#[tokio::test]
async fn every_operation_answers_as_described() {
    let running = Running::start(keyed()).await;
    let mut api = Description::of(&running).await;
    assert_eq!(api.document["info"]["version"], wse_server::VERSION);
    looks(&mut api, &running).await;
    publications(&mut api, &running).await;
    pages(&mut api, &running).await;
    doors(&mut api).await;
    console_tokens(&mut api, &running).await;
    channel_tokens(&mut api, &running).await;
    for path in ["/wse/publish", "/wse/compression-test"] {
        unsent_body(&mut api, &running, path).await;
    }
    let full = Running::start(Config { max_topics: 1, ..open() }).await;
    let to = |topic: &str| json!({ "topic": topic, "type": "k" }).to_string();
    api.ask(&full, "POST /wse/publish", &[], &to("first"), 200).await;
    api.ask(&full, "POST /wse/publish", &[], &to("second"), 503).await;
    misdirected(&mut api).await;
    leaving(&mut api).await;
    expect_all_seen(&api);
}

/// A server that is called by another name answers nothing.
async fn misdirected(api: &mut Description) {
    let running = Running::start(Config { allowed_hosts: vec!["wse.example".into()], ..open() }).await;
    for (path, operations) in api.document["paths"].as_object().expect("paths").clone() {
        for method in operations.as_object().expect("operations").keys() {
            let request = format!("{} {path}", method.to_ascii_uppercase());
            let refused = api.ask(&running, &request, &[], "", 421).await.error();
            assert_eq!(refused, (421, "FORBIDDEN".into()));
        }
    }
}

/// A server that is about to go says so.
async fn leaving(api: &mut Description) {
    let running = Running::start(Config { drain_delay: PATIENCE, ..open() }).await;
    let draining = tokio::spawn({
        let server = running.server.clone();
        async move { server.drain().await }
    });
    while running.server.is_ready() {
        tokio::task::yield_now().await;
    }
    let answer = api.ask(&running, "GET /wse/ready", &[], "", 503).await;
    assert_eq!(answer.json(), json!({ "ready": false, "stage": "leaving" }));
    draining.abort();
}

/// Everything that is described was seen, but for what this server cannot be brought to.
fn expect_all_seen(api: &Description) {
    let paths = api.document["paths"].as_object().expect("paths");
    let operations = paths.values().flat_map(|path| path.as_object().expect("operations").values());
    let described = operations.flat_map(|operation| {
        let name = operation["operationId"].as_str().expect("an id");
        let statuses = operation["responses"].as_object().expect("responses").keys();
        statuses.map(move |status| (name.to_owned(), status.clone()))
    });
    let unseen: Vec<_> = described.filter(|one| !api.seen.contains(one)).collect();
    // A history in memory can always be asked.
    assert_eq!(unseen, [("history".to_owned(), "503".to_owned())]);
}

async fn looks(api: &mut Description, running: &Running) {
    let _client = running.subscriber(&format!("?token={}", common::token()), &["a:1", "a:*"]).await;
    running.publish("a:1", "k", &json!(1));
    for request in
        ["GET /wse/health", "GET /wse/ready", "GET /wse/metrics", "GET /wse/openapi.json", "GET /wse/compression-test"]
    {
        api.ask(running, request, &[], "", 200).await;
    }
    let debug = api.ask(running, "GET /wse/debug?limit=5&prefix=a", &[BEARER], "", 200).await.json();
    assert_eq!(
        (&debug["subscriptions"]["total"], &debug["subscriptions"]["patterns"]),
        (&json!(2), &json!({ "a:*": 1 }))
    );
    assert_eq!(debug["connections"]["users"], json!([{ "user_id": "alice", "connections": 1 }]));
    assert_eq!(
        (&debug["topics"]["list"][0]["topic"], &debug["topics"]["list"][0]["subscribers"]),
        (&json!("a:1"), &json!(1))
    );
    assert_eq!((&debug["pubsub"]["bus"], &debug["pubsub"]["published"]), (&json!("memory"), &json!(1)));
    api.ask(running, "GET /wse/debug?limit=many", &[BEARER], "", 400).await;
    api.ask(running, "POST /wse/compression-test", &[X_KEY, JSON], "[1, 2, 3]", 200).await;
    api.ask(running, "POST /wse/compression-test", &[X_KEY, JSON], "[1, 2", 400).await;
    let large = "1".repeat((1 << 20) + 1);
    api.ask(running, "POST /wse/compression-test", &[X_KEY, JSON], &large, 413).await;
    api.ask(running, "POST /wse/publish", &[X_KEY, JSON], &large, 413).await;
}

async fn publications(api: &mut Description, running: &Running) {
    let publish = "POST /wse/publish";
    for body in [
        json!({ "topic": "t", "type": "k" }),
        json!({ "topic": "t", "type": "k", "payload": null }),
        json!({ "topic": "t", "message": { "t": "k", "p": [1], "id": "mine" } }),
        json!({ "messages": [{ "topic": "t", "type": "k" }, { "topic": "t*", "type": "k" }] }),
    ] {
        api.ask(running, publish, &[BEARER, JSON], &body.to_string(), 200).await;
    }
    let bad = [
        json!({}),
        json!({ "topic": "t" }),
        json!({ "topic": "t", "type": "k", "message": { "t": "k" } }),
        json!({ "topic": "t", "type": "k", "unknown": 1 }),
        json!({ "messages": [] }),
        json!({ "messages": 1 }),
        json!({ "topic": "t", "messages": [{ "topic": "t", "type": "k" }] }),
    ];
    for body in bad {
        let schema =
            api.operation("POST", "/wse/publish")["requestBody"]["content"]["application/json"]["schema"].clone();
        assert!(api.fits(&schema, &body).is_err(), "described as fine, but refused: {body}");
        api.ask(running, publish, &[BEARER, JSON], &body.to_string(), 400).await;
    }
    let headers = [BEARER, JSON, "idempotency-key: one"];
    let body = json!({ "topic": "t", "type": "k" }).to_string();
    api.ask(running, publish, &headers, &body, 200).await;
    let again = api.ask(running, publish, &headers, &body, 200).await;
    assert!(again.head.contains("idempotent-replayed: true"), "{}", again.head);
    api.ask(running, publish, &headers, &json!({ "topic": "t", "type": "other" }).to_string(), 422).await;
}

async fn pages(api: &mut Description, running: &Running) {
    for n in 0..5 {
        running.publish("pages", "k", &json!(n));
    }
    let first = api.ask(running, "GET /wse/history?topic=pages&limit=2", &[X_KEY], "", 200).await.json();
    assert_eq!((&first["messages"][1]["p"], &first["more"]), (&json!(4), &json!(false)), "the newest");
    let epoch = first["epoch"].as_str().expect("an epoch");
    let mut payloads = Vec::new();
    let mut after = String::from("-1");
    loop {
        let offset = if after == "-1" { String::new() } else { format!("&offset={after}") };
        let request = format!("GET /wse/history?topic=pages&limit=2&epoch={epoch}{offset}");
        let page = api.ask(running, &request, &[X_KEY], "", 200).await.json();
        let messages = page["messages"].as_array().expect("messages");
        payloads.extend(messages.iter().map(|message| message["p"].as_u64().expect("a number")));
        after = messages.last().expect("not empty")["o"].to_string();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(payloads, [0, 1, 2, 3, 4]);
    api.ask(running, "GET /wse/history?topic=unknown", &[X_KEY], "", 404).await;
    for query in ["", "?topic=a*", "?topic=pages&offset=1", "?topic=pages&limit=x", "?topic=pages&unknown=1"] {
        api.ask(running, &format!("GET /wse/history{query}"), &[X_KEY], "", 400).await;
    }
    let empty = api.ask(running, "GET /wse/presence?topic=nobody", &[X_KEY], "", 200).await.json();
    assert_eq!((&empty["total"], &empty["members"]), (&json!(0), &json!([])));
    api.ask(running, "GET /wse/presence?topic=a*", &[X_KEY], "", 400).await;
}

/// Every operation that wants a key, with none, with a wrong one, and on servers that have none.
async fn doors(api: &mut Description) {
    let (locked, keyless, free) =
        (Running::start(keyed()).await, Running::start(closed()).await, Running::start(open()).await);
    let body = json!({ "topic": "t", "type": "k" }).to_string();
    let paths = api.document["paths"].as_object().expect("paths").clone();
    let mut keyed = 0;
    for (path, operations) in &paths {
        for (method, operation) in operations.as_object().expect("operations") {
            if operation["security"].is_null() {
                continue;
            }
            keyed += 1;
            let request = format!("{} {path}?topic=t", method.to_ascii_uppercase());
            let missing = api.ask(&locked, &request, &[JSON], &body, 401).await.error();
            assert_eq!(missing, (401, "AUTH_REQUIRED".into()));
            let wrong = api.ask(&locked, &request, &[JSON, WRONG], &body, 401).await.error();
            assert_eq!(wrong, (401, "AUTH_FAILED".into()));
            api.ask(&keyless, &request, &[JSON], &body, 403).await;
            let foreign = api.ask(&free, &request, &[JSON, "origin: https://evil.example"], &body, 403).await.error();
            let needs_key = !operation["security"].as_array().expect("a list").contains(&json!({}));
            let code = if needs_key { "AUTH_REQUIRED" } else { "ORIGIN_NOT_ALLOWED" };
            assert_eq!(foreign, (403, code.into()));
        }
    }
    assert_eq!(keyed, 7);
}

/// What the console page follows topics with: a token, nothing from an open server, and a word where none can be signed.
async fn console_tokens(api: &mut Description, running: &Running) {
    let request = "POST /console/token";
    let answer = api.ask(running, request, &[BEARER], "", 200).await;
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    let open = Running::start(open()).await;
    assert_eq!(api.ask(&open, request, &[], "", 200).await.json()["required"], json!(false));
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/testdata/rsa-public.pem");
    let public = Config { jwt_secret: None, jwt_keys: vec![key.into()], ..keyed() };
    let refused = api.ask(&Running::start(public).await, request, &[BEARER], "", 501).await;
    assert_eq!(refused.error(), (501, "INVALID_CONFIG".into()));
    assert!(refused.body.contains("jwt_secret"), "{}", refused.body);
}

/// What lets a user into a topic.
async fn channel_tokens(api: &mut Description, running: &Running) {
    let (request, body) = ("POST /wse/tokens", json!({ "user": "ada", "topic": "room:7" }).to_string());
    let config = Config { token_key: Some("0123456789abcdef0123456789abcdef".into()), ..keyed() };
    let issuing = Running::start(config).await;
    let answer = api.ask(&issuing, request, &[X_KEY, JSON], &body, 200).await;
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    api.ask(&issuing, request, &[X_KEY, JSON], r#"{"user":"ada","topic":"room:*"}"#, 400).await;
    api.ask(&issuing, request, &[X_KEY, JSON], &"1".repeat((1 << 20) + 1), 413).await;
    unsent_body(api, &issuing, "/wse/tokens").await;
    let refused = api.ask(running, request, &[X_KEY, JSON], &body, 501).await;
    assert_eq!(refused.error(), (501, "INVALID_CONFIG".into()));
}

#[tokio::test]
async fn a_repeated_request_is_published_once() {
    let running = Running::start(open()).await;
    let mut client = running.subscriber("", &["t"]).await;
    let body = json!({ "messages": [{ "topic": "t", "type": "a" }, { "topic": "t", "type": "b" }] }).to_string();
    let headers = [JSON, "idempotency-key: order-17"];
    let post = || http(running.addr(), "POST", "/wse/publish", &headers, body.as_bytes());
    let answers = tokio::join!(post(), post(), post());
    let bodies = [answers.0.body, answers.1.body, answers.2.body];
    assert!(bodies[0].contains("\"published\":2"), "{}", bodies[0]);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!((client.message().await.kind(), client.message().await.kind()), ("a", "b"));
    client.expect_silence().await;
    let stats = running.server.stats();
    assert_eq!((stats.messages_published, stats.publishes_repeated), (2, 2));
}

#[tokio::test]
async fn a_refused_request_may_be_sent_again_with_its_key() {
    let running = Running::start(Config { max_topics: 1, ..open() }).await;
    running.publish("other", "k", &json!({}));
    let body = json!({ "topic": "t", "type": "a" }).to_string();
    let headers = [JSON, "idempotency-key: k"];
    for _ in 0..2 {
        let answer = http(running.addr(), "POST", "/wse/publish", &headers, body.as_bytes()).await;
        assert_eq!(answer.error(), (503, "TOO_MANY_TOPICS".into()));
        assert!(!answer.head.contains("idempotent-replayed"));
    }
    let long = format!("idempotency-key: {}", "k".repeat(256));
    let answer = http(running.addr(), "POST", "/wse/publish", &[JSON, &long], body.as_bytes()).await;
    assert_eq!(answer.error(), (400, "INVALID_REQUEST".into()));
}

#[tokio::test]
async fn compression_is_measured_as_it_is_done() {
    let running = Running::start(open()).await;
    let row = json!({ "name": "the same words again and again" });
    let data = json!(vec![row; 200]);
    let answer = http(running.addr(), "POST", "/wse/compression-test", &[JSON], data.to_string().as_bytes()).await;
    let result = &answer.json()["results"][0];
    let mut client = running.subscriber("", &["t"]).await;
    running.publish("t", "sample", &data);
    let frame = client.frame().await.expect("a frame");
    assert!(frame.bytes().starts_with(b"C:") && result["would_compress"] == true);
    let (told, real) = (result["zlib_bytes"].as_u64().expect("a size"), frame.len() as u64);
    assert!(told.abs_diff(real) < 200, "{told} was told, {real} are sent: the members of the envelope differ, no more");
    assert!(result["zlib_ratio"].as_f64().expect("a ratio") < 0.1);
}
