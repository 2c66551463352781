//! Tokens that the server gives out itself, and signatures that it asks for. Source: PROTOCOL.md §5.3, §5.6.

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ::http::{HeaderMap, header};
use common::{Answer, Running, SECRET, closed, http, open};
use serde_json::{Value, json};
use wse_client_core::{
    io::Frame,
    wire::{self, Limits, Message},
};
use wse_server::{
    Acl, Attached, Carried, Claims, Config, ConnectionHandle, Handler, Purpose, Server, TokenClaims, Verification,
    make_token,
};

const API_KEY: &str = "the-key-of-the-http-api";
const TOKEN_KEY: &str = "0123456789abcdef0123456789abcdef";

async fn ask(running: &Running, key: &str, body: &str) -> Answer {
    let key = format!("x-api-key: {key}");
    http(running.addr(), "POST", "/wse/tokens", &[&key], body.as_bytes()).await
}

/// A client of `ada`, who may listen to `public` alone.
fn attach(server: &Server) -> Attached {
    let topics = Some(Acl { allow: vec!["public".into()], deny: vec!["public:*".into()] });
    let claims = TokenClaims { topics, ..TokenClaims::new("ada", Duration::from_secs(60)) };
    let token = make_token(&SECRET.into(), &claims).expect("made");
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().expect("a header"));
    let mut client = server.attach(&headers, "client_version=2.0.7", None);
    heard(&mut client);
    client
}

fn say(client: &mut Attached, kind: &str, payload: &Value) {
    client.on_frame(Frame::Text(json!({ "t": kind, "p": payload, "id": "q", "v": 1 }).to_string().into()));
}

fn heard(client: &mut Attached) -> Vec<(String, Value)> {
    let mut messages = Vec::new();
    while let Some(Carried::Frame(frame)) = client.take() {
        let message = wire::decode(&frame, &Limits::default(), None).expect("decodable");
        messages.push((message.kind().to_owned(), message.payload().parse().expect("JSON")));
    }
    messages
}

#[tokio::test]
async fn a_channel_token_is_given_out_by_key_and_opens_one_topic() {
    let config = Config { api_key: Some(API_KEY.into()), token_key: Some(TOKEN_KEY.into()), ..closed() };
    let running = Running::start(config).await;
    assert_eq!(ask(&running, "another", r#"{"user":"ada","topic":"room:7"}"#).await.error().0, 401);
    for (body, code) in [
        (r#"{"user":"ada","topic":"room:*"}"#, "INVALID_TOPIC"),
        (r#"{"user":"","topic":"room:7"}"#, "INVALID_REQUEST"),
        (r#"{"topic":"room:7"}"#, "INVALID_REQUEST"),
        ("[", "INVALID_REQUEST"),
    ] {
        assert_eq!(ask(&running, API_KEY, body).await.error(), (400, code.into()), "{body}");
    }
    let answer = ask(&running, API_KEY, r#"{"user":"ada","topic":"room:7"}"#).await;
    assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &json!(3600)));
    assert!(answer.head.contains("no-store"), "{}", answer.head);

    let mut client = attach(&running.server);
    let token = &answer.json()["token"];
    let denied = running.server.channel_token("ada", "public:1").expect("a key");
    let channel_tokens = json!({ "room:7": token, "room:8": token, "public:1": denied.expose() });
    let topics = ["room:7", "room:8", "public:1"];
    say(&mut client, "subscription_update", &json!({ "topics": topics, "channel_tokens": channel_tokens }));
    let (_, answer) = heard(&mut client).remove(0);
    assert_eq!(answer["success_topics"], json!(["room:7"]));
    let errors: Vec<&Value> =
        answer["failed_topics"].as_array().expect("a list").iter().map(|one| &one["error"]).collect();
    assert_eq!(errors, ["TOPIC_DENIED", "TOPIC_DENIED"]);
}

/// A token counts for the request that brought it, the subscription lasts: what is asked about it later needs no token.
#[tokio::test]
async fn what_a_token_opened_can_be_asked_about_as_long_as_it_is_subscribed() {
    let running = Running::start(Config { token_key: Some(TOKEN_KEY.into()), ..closed() }).await;
    let mut client = attach(&running.server);
    running.publish("room:7", "k_snapshot", &json!({}));
    let answers = |client: &mut Attached| -> Vec<Value> {
        say(client, "sync_request", &json!({ "topics": ["room:7"] }));
        say(client, "presence_request", &json!({ "topic": "room:7" }));
        say(client, "subscription_update", &json!({ "action": "recover", "topics": ["room:7"], "recover": true }));
        let all = heard(client).into_iter().filter(|(kind, _)| kind != "k_snapshot");
        all.map(|(kind, payload)| match &*kind {
            "presence_response" => payload["total"].clone(),
            "subscription_update" => payload["recovery"]["room:7"]["offset"].clone(),
            _ => payload.get("code").unwrap_or(&payload["success"]).clone(),
        })
        .collect()
    };
    let denied = [json!(false), json!("TOPIC_DENIED"), Value::Null];
    assert_eq!(answers(&mut client), denied);
    let token = running.server.channel_token("ada", "room:7").expect("a key");
    let channel_tokens = json!({ "room:7": token.expose() });
    say(&mut client, "subscription_update", &json!({ "topics": ["room:7"], "channel_tokens": channel_tokens }));
    heard(&mut client);
    let mut told = Vec::new();
    while told.len() < 3 {
        // The application, which knows nothing here, is asked in a task of its own.
        tokio::task::yield_now().await;
        told = if told.is_empty() { answers(&mut client) } else { told };
        let more = heard(&mut client).into_iter().filter(|(kind, _)| kind == "snapshot_complete");
        told.extend(more.map(|(_, payload)| payload["success"].clone()));
    }
    assert_eq!(told, [json!(0), json!(0), json!(true)]);
    say(&mut client, "subscription_update", &json!({ "action": "unsubscribe", "topics": ["room:7"] }));
    heard(&mut client);
    assert_eq!(answers(&mut client), denied);
}

#[tokio::test]
async fn without_keys_there_are_no_tokens() {
    let running = Running::start(open()).await;
    assert_eq!(ask(&running, "any", r#"{"user":"ada","topic":"t"}"#).await.error(), (403, "AUTH_REQUIRED".into()));
    assert!(running.server.channel_token("ada", "t").is_none());
    assert!(running.server.check_token("a.b").is_err());
    let running = Running::start(Config { api_key: Some(API_KEY.into()), ..open() }).await;
    let answer = ask(&running, API_KEY, r#"{"user":"ada","topic":"t"}"#).await;
    assert_eq!(answer.error(), (501, "INVALID_CONFIG".into()));
    assert_eq!(ask(&running, API_KEY, "{}").await.error().0, 501, "what is missing in the request would not help");
}

/// Keeps what a session token of each connection says, as the application's other doors would ask.
#[derive(Clone, Default)]
struct Doors(Arc<Mutex<Option<Named>>>);

/// A connection, and what its token says.
type Named = (String, Option<Claims>);

impl Handler for Doors {
    fn on_messages(&self, _: &ConnectionHandle, _: &mut Vec<Message>) {}

    fn on_connect(&self, connection: &ConnectionHandle) {
        let token = connection.session_token();
        let claims = token.and_then(|token| connection.server().check_token(token.expose()).ok());
        *self.0.lock().expect("not poisoned") = Some((connection.id().to_owned(), claims));
    }
}

#[tokio::test]
async fn a_session_token_names_its_connection() {
    for key in [None, Some(TOKEN_KEY)] {
        let doors = Doors::default();
        let config = Config { token_key: key.map(Into::into), ..closed() };
        let running = Running::with_handler(config, doors.clone()).await;
        let client = attach(&running.server);
        let (connection, claims) = doors.0.lock().expect("not poisoned").take().expect("connected");
        assert_eq!(connection, client.id());
        let named = claims.map(|claims| (claims.user, claims.purpose));
        assert_eq!(named, key.map(|_| ("ada".to_owned(), Purpose::Session { connection })));
    }
}

#[tokio::test]
async fn what_must_be_signed_is_refused_unsigned() {
    for (verification, refused) in [(Verification::IfPresent, false), (Verification::Required, true)] {
        let signing_key = Some("a key of at least thirty-two bytes!!".into());
        let signed_types = vec!["order".into()];
        let running = Running::start(Config { signing_key, verification, signed_types, ..open() }).await;
        let mut client = running.server.attach(&HeaderMap::new(), "client_version=2.0.7", None);
        heard(&mut client);
        for (kind, must_be_signed) in [("order", true), ("chat", false)] {
            say(&mut client, kind, &json!({}));
            let codes: Vec<Value> = heard(&mut client).iter().map(|(_, payload)| payload["code"].clone()).collect();
            let expected = if refused && must_be_signed { vec![json!("SIGNATURE_INVALID")] } else { Vec::new() };
            assert_eq!(codes, expected, "{kind} {verification:?}");
        }
    }
}
