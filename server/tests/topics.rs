//! Presence, queue groups, snapshots and histories, each over a socket and through memory.

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{
    PATIENCE, Running, SECRET, closed,
    line::{Line, WAYS, Way},
    open, payload,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use wse_client_core::wire::{self, Limits};
use wse_server::{
    Acl, Config, ConnectionHandle, Frame, HistoryQuery, Outgoing, Payload, PresenceQuery, Server, SnapshotFuture,
    SnapshotProvider, TokenClaims, make_token,
};

fn token(user: &str) -> String {
    make_token(&SECRET.into(), &TokenClaims::new(user, Duration::from_secs(60))).expect("made")
}

/// A token of a user that may publish everywhere.
fn speaker(user: &str) -> String {
    let claims = TokenClaims { publish: Some(Acl::default()), ..TokenClaims::new(user, Duration::from_secs(60)) };
    make_token(&SECRET.into(), &claims).expect("made")
}

async fn people(running: &Running, topic: &str) -> Vec<String> {
    let page = running.server.presence(topic, &PresenceQuery::default()).await;
    assert_eq!(page.total, page.members.len() as u64);
    page.members.into_iter().map(|member| member.user_id).collect()
}

#[tokio::test]
async fn users_are_seen_once_however_many_connections_they_have() {
    for way in WAYS {
        let running = Running::start(closed()).await;
        let mut watcher = Line::of(&running, way, &token("watcher")).await;
        watcher.subscribe(json!({ "topics": ["room"] })).await;
        let mut first = Line::of(&running, way, &speaker("ann")).await;
        let answer = first.subscribe(json!({ "topics": ["room"], "presence": { "room": { "mood": "fine" } } })).await;
        assert_eq!(answer["presence"], json!({ "room": 1 }));
        let expected = json!({ "user_id": "ann", "data": { "mood": "fine" } });
        for line in [&mut watcher, &mut first] {
            let join = line.expect("presence_join").await;
            assert_eq!((join.topic(), payload(&join)), (Some("room"), expected.clone()));
            assert_eq!((join.epoch(), join.head().offset), (None, None), "it is not part of the history");
        }
        let mut second = Line::of(&running, way, &speaker("ann")).await;
        second.subscribe(json!({ "topics": ["room"], "presence": { "room": { "mood": "fine" } } })).await;
        watcher.expect_silence().await;
        second.subscribe(json!({ "topics": ["room"], "presence": { "room": { "mood": "tired" } } })).await;
        let update = watcher.expect("presence_update").await;
        assert_eq!(payload(&update)["data"], json!({ "mood": "tired" }));
        assert_eq!((people(&running, "room").await, running.server.presence_totals()), (vec!["ann".into()], (1, 1)));

        first.cut();
        watcher.expect_silence().await;
        second.say(&json!({ "t": "subscription_update", "p": { "action": "unsubscribe", "topics": ["room"] } })).await;
        let leave = watcher.expect("presence_leave").await;
        assert_eq!(payload(&leave), json!({ "user_id": "ann", "data": { "mood": "tired" } }));
        assert_eq!(running.server.presence_totals(), (0, 0));
    }
}

#[tokio::test]
async fn who_is_there_is_told_in_pages_to_those_who_may_read_the_topic() {
    for way in WAYS {
        let running = Running::start(closed()).await;
        let mut lines = Vec::new();
        for user in ["cem", "ann", "bob"] {
            let mut line = Line::of(&running, way, &token(user)).await;
            line.subscribe(json!({ "topics": ["room"], "presence": { "room": null } })).await;
            lines.push(line);
        }
        let claims = TokenClaims {
            topics: Some(Acl { allow: vec!["room".into()], deny: Vec::new() }),
            ..TokenClaims::new("dan", Duration::from_secs(60))
        };
        let mut reader = Line::of(&running, way, &make_token(&SECRET.into(), &claims).expect("made")).await;
        let page = reader.ask("presence_request", json!({ "topic": "room", "limit": 2 }), "presence_response").await;
        let member = |user: &str| json!({ "user_id": user, "data": null });
        let first = [member("ann"), member("bob")];
        assert_eq!(page, json!({ "topic": "room", "total": 3, "members": first, "more": true }));
        let rest = json!({ "topic": "room", "after": "bob" });
        let page = reader.ask("presence_request", rest, "presence_response").await;
        assert_eq!((&page["members"], &page["more"]), (&json!([member("cem")]), &json!(false)));
        for (question, code) in [
            (json!({ "topic": "secret" }), "TOPIC_DENIED"),
            (json!({ "topic": "*" }), "INVALID_TOPIC"),
            (json!({}), "INVALID_REQUEST"),
        ] {
            assert_eq!(reader.ask("presence_request", question, "error").await["code"], code);
        }
    }
}

#[tokio::test]
async fn who_unsubscribes_from_a_name_is_not_seen_there_though_a_pattern_covers_it() {
    for way in WAYS {
        let running = Running::start(closed()).await;
        let mut line = Line::of(&running, way, &token("ann")).await;
        line.subscribe(json!({ "topics": ["ro*"] })).await;
        line.subscribe(json!({ "topics": ["room"], "presence": { "room": null } })).await;
        line.expect("presence_join").await;
        leave(&mut line, "room").await;
        assert_eq!(payload(&line.expect("presence_leave").await), json!({ "user_id": "ann", "data": null }));
        assert_eq!(running.server.presence_totals(), (0, 0));
        line.subscribe(json!({ "topics": ["room"], "presence": { "room": null } })).await;
        line.expect("presence_join").await;
        line.cut();
        let gone = async {
            while running.server.presence_totals() != (0, 0) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the end of the connection is seen");
    }
}

#[tokio::test]
async fn what_cannot_be_seen_is_refused() {
    for way in WAYS {
        let config = Config { presence_topics: vec!["room:*".into()], ..closed() };
        let running = Running::start(config).await;
        let mut silent = Line::of(&running, way, &token("ann")).await;
        let failed = |answer: &Value| answer["failed_topics"].clone();
        let answer = silent.subscribe(json!({ "topics": ["room:1"], "presence": { "room:1": { "a": 1 } } })).await;
        assert_eq!(failed(&answer), json!([{ "topic": "room:1", "error": "PUBLISH_DENIED" }]));
        let answer = silent.subscribe(json!({ "topics": ["room:*"], "presence": { "room:*": null, "x": null } })).await;
        let refused = [("room:*", "INVALID_TOPIC"), ("x", "INVALID_SUBSCRIPTION")];
        assert_eq!(failed(&answer), json!(refused.map(|(topic, error)| json!({ "topic": topic, "error": error }))));
        let mut line = Line::of(&running, way, &speaker("bob")).await;
        let long = "x".repeat(4095);
        let answer = line.subscribe(json!({ "topics": ["room:1"], "presence": { "room:1": long } })).await;
        assert_eq!(failed(&answer), json!([{ "topic": "room:1", "error": "MESSAGE_TOO_LARGE" }]));
        let long = "x".repeat(4094);
        let answer =
            line.subscribe(json!({ "topics": ["room:1", "hall"], "presence": { "room:1": long, "hall": null } })).await;
        assert_eq!((&answer["success"], &answer["presence"]), (&json!(true), &json!({ "room:1": 1 })));
        assert!(people(&running, "hall").await.is_empty());
    }
}

#[tokio::test]
async fn presence_has_a_bound_in_bytes() {
    let running = Running::start(Config { presence_bytes: 1, ..open() }).await;
    let mut first = Line::open(&running, Way::Memory, "").await;
    first.subscribe(json!({ "topics": ["a"], "presence": { "a": null } })).await;
    let mut second = Line::open(&running, Way::Memory, "").await;
    let answer = second.subscribe(json!({ "topics": ["a"], "presence": { "a": null } })).await;
    assert_eq!(answer["failed_topics"], json!([{ "topic": "a", "error": "SERVER_FULL" }]));
    first.cut();
    let answer = second.subscribe(json!({ "topics": ["a"], "presence": { "a": null } })).await;
    assert_eq!(answer["presence"], json!({ "a": 1 }));
}

#[tokio::test]
async fn who_is_refused_for_want_of_memory_is_not_seen_where_it_was_subscribed_before() {
    let running = Running::start(Config { presence_bytes: 1, ..closed() }).await;
    let mut second = Line::of(&running, Way::Memory, &speaker("bob")).await;
    second.subscribe(json!({ "topics": ["a"] })).await;
    let mut first = Line::of(&running, Way::Memory, &speaker("ann")).await;
    first.subscribe(json!({ "topics": ["b"], "presence": { "b": null } })).await;
    let answer = second.subscribe(json!({ "topics": ["a"], "presence": { "a": "here" } })).await;
    assert_eq!(answer["failed_topics"], json!([{ "topic": "a", "error": "SERVER_FULL" }]));
    assert_eq!(answer["presence"].as_object().map_or(0, serde_json::Map::len), 0);
    assert_eq!(people(&running, "a").await, Vec::<String>::new());
}

#[tokio::test]
async fn who_is_seen_already_needs_no_more_room() {
    for way in WAYS {
        let running = Running::start(Config { presence_bytes: 1, ..closed() }).await;
        let mut first = Line::of(&running, way, &speaker("ann")).await;
        first.subscribe(json!({ "topics": ["a"], "presence": { "a": "here" } })).await;
        let mut second = Line::of(&running, way, &speaker("ann")).await;
        let request = |told| json!({ "topics": ["a"], "presence": { "a": told } });
        assert_eq!(second.subscribe(request("away")).await["presence"], json!({ "a": 1 }));
        assert_eq!(payload(&second.expect("presence_update").await)["data"], "away");
        let answer = second.subscribe(request("somewhere else")).await;
        assert_eq!(answer["failed_topics"], json!([{ "topic": "a", "error": "SERVER_FULL" }]), "that is more");
    }
}

#[tokio::test]
async fn a_user_that_comes_back_in_time_has_never_been_away() {
    for way in WAYS {
        let running = Running::start(Config { presence_linger: Duration::from_millis(1500), ..closed() }).await;
        let mut watcher = Line::of(&running, way, &token("watcher")).await;
        watcher.subscribe(json!({ "topics": ["r*"] })).await;
        let request = json!({ "topics": ["room"], "presence": { "room": null } });
        let mut ann = Line::of(&running, way, &token("ann")).await;
        ann.subscribe(request.clone()).await;
        watcher.expect("presence_join").await;
        ann.cut();
        let mut ann = Line::of(&running, way, &token("ann")).await;
        ann.subscribe(request).await;
        watcher.expect_silence().await;
        ann.cut();
        watcher.expect("presence_leave").await;
        assert!(people(&running, "room").await.is_empty());
    }
}

#[tokio::test]
async fn each_message_reaches_one_member_of_each_group_in_turn() {
    for way in WAYS {
        let running = Running::start(open()).await;
        let mut workers = Vec::new();
        for (topics, group) in [("jobs", "a"), ("jobs", "a"), ("j*", "a"), ("jobs", "b")] {
            let mut line = Line::open(&running, way, "").await;
            line.subscribe(json!({ "topics": [topics], "group": group })).await;
            workers.push(line);
        }
        let mut all = Line::open(&running, way, "").await;
        all.subscribe(json!({ "topics": ["jobs"] })).await;
        for n in 0..9 {
            assert_eq!(running.publish("jobs", "job", &json!({ "n": n })), 3, "one for each group, and one alone");
        }
        let mut seen = BTreeMap::new();
        for (worker, expected) in workers.iter_mut().zip([3, 3, 3, 9]) {
            for _ in 0..expected {
                let job = worker.expect("job").await;
                assert_eq!((job.epoch(), job.head().offset), (None, None));
                *seen.entry(payload(&job)["n"].as_u64()).or_insert(0) += 1;
            }
            worker.expect_silence().await;
        }
        assert!(seen.len() == 9 && seen.values().all(|count| *count == 2), "{seen:?}");
        for n in 0..9 {
            assert_eq!(payload(&all.expect("job").await)["n"], n);
        }
        let nameless = json!({ "topics": ["x"], "group": "" });
        assert_eq!(all.ask("subscription_update", nameless, "error").await["code"], "INVALID_SUBSCRIPTION");
    }
}

#[tokio::test]
async fn what_a_member_has_not_read_goes_to_the_others() {
    // Through memory, so that it is certain who has read what.
    let running = Running::start(open()).await;
    let mut lines = Vec::new();
    for _ in 0..3 {
        let mut line = Line::open(&running, Way::Memory, "compression=false").await;
        line.subscribe(json!({ "topics": ["jobs"], "group": "g" })).await;
        lines.push(line);
    }
    let job = |n: usize| json!({ "n": n, "text": "x".repeat(60_000) });
    let mut idle = lines.pop().expect("three");
    let mut stalled = lines.pop().expect("two");
    let mut leaver = lines.pop().expect("one");
    for n in 0..9 {
        assert_eq!(running.publish("jobs", "job", &job(n)), 1);
    }
    // It takes two of its three into its queue, and has no room for the third.
    let Line::Memory(attached) = &mut stalled else { unreachable!() };
    attached.take().expect("a message");
    let mut got = 0;
    while tokio::time::timeout(common::QUIET, idle.expect("job")).await.is_ok() {
        got += 1;
    }
    assert_eq!(got, 4, "three of its own, and the one that the other had no room for");
    drop(leaver);
    while tokio::time::timeout(common::QUIET, idle.expect("job")).await.is_ok() {
        got += 1;
    }
    assert_eq!(got, 7);
    leaver = Line::open(&running, Way::Memory, "compression=false").await;
    leaver.subscribe(json!({ "topics": ["jobs"], "group": "g" })).await;
    for n in 9..13 {
        running.publish("jobs", "job", &job(n));
    }
    for line in [&mut idle, &mut leaver] {
        line.expect("job").await;
        line.expect("job").await;
    }
    assert_eq!(running.server.stats().messages_lost, 0);
    drop((idle, leaver));
}

#[tokio::test]
async fn a_history_can_be_read_in_pages() {
    let running = Running::start(Config { history_messages: 5, ring_messages: 5, ..open() }).await;
    assert!(running.server.history("t", &HistoryQuery::default()).await.expect("in memory").is_none());
    for n in 0..8 {
        running.publish("t", "item", &json!({ "n": n }));
    }
    let newest = running.server.history("t", &HistoryQuery { after: None, limit: 2 }).await;
    let newest = newest.expect("in memory").expect("a history");
    let numbers = |page: &wse_server::HistoryPage| page.messages.iter().map(|message| message.o).collect::<Vec<_>>();
    assert_eq!((newest.first, newest.last, newest.more, numbers(&newest)), (Some(3), Some(7), false, vec![6, 7]));
    let mut after = wse_server::Position { epoch: newest.epoch.clone(), offset: Some(1) };
    let page = running.server.history("t", &HistoryQuery { after: Some(after.clone()), limit: 2 }).await;
    let page = page.expect("in memory").expect("a history");
    assert_eq!((page.recovered, page.more, numbers(&page)), (false, true, vec![3, 4]));
    assert_eq!(page.messages[0].p.get(), r#"{"n":3}"#);
    after.offset = Some(4);
    let page = running.server.history("t", &HistoryQuery { after: Some(after), limit: 9 }).await;
    let page = page.expect("in memory").expect("a history");
    assert_eq!((page.recovered, page.more, numbers(&page)), (true, false, vec![5, 6, 7]));
}

/// Knows `known:*` once it was told that it may answer, and fails for `broken:*`.
struct Provider(Arc<Notify>);

impl SnapshotProvider for Provider {
    fn snapshot(&self, connection: &ConnectionHandle, topic: &str) -> Option<SnapshotFuture> {
        let state =
            Outgoing::new("state_snapshot", Payload::new(&json!({ "of": topic, "for": connection.user_id() })).ok()?);
        let ready = Arc::clone(&self.0);
        match topic.split_once(':')?.0 {
            "known" => Some(Box::pin(async move {
                ready.notified().await;
                Ok(vec![state])
            })),
            "broken" => Some(Box::pin(async { Err("the database is away".into()) })),
            "panics" => Some(Box::pin(async { panic!("as a test wants it") })),
            _ => None,
        }
    }
}

async fn with_provider() -> (Running, Arc<Notify>) {
    let ready = Arc::new(Notify::new());
    let server = Server::builder(closed()).snapshots(Provider(Arc::clone(&ready))).bind().await.expect("binds");
    (Running::serve(server), ready)
}

#[tokio::test]
async fn the_state_that_the_application_knows_comes_before_the_messages_of_its_topic() {
    for way in WAYS {
        let (running, ready) = with_provider().await;
        let mut line = Line::of(&running, way, &token("ann")).await;
        line.subscribe(json!({ "topics": ["known:a", "other"] })).await;
        for topic in ["known:a", "other"] {
            running.publish(topic, "live", &json!({}));
        }
        let other = line.expect("live").await;
        assert_eq!(other.topic(), Some("other"), "it does not wait for the state of another topic");
        line.expect_silence().await;
        ready.notify_one();
        let state = line.expect("state_snapshot").await;
        assert_eq!((state.topic(), state.head().offset), (Some("known:a"), None));
        assert_eq!(payload(&state), json!({ "of": "known:a", "for": "ann" }));
        let live = line.expect("live").await;
        assert_eq!((live.topic(), live.head().offset), (Some("known:a"), Some(0)));
    }
}

/// A topic that a pattern met when it appeared has a state that nobody asked for.
#[tokio::test]
async fn who_asks_for_a_name_that_a_pattern_covers_gets_the_state_that_the_application_knows() {
    for way in WAYS {
        let (running, ready) = with_provider().await;
        let mut line = Line::of(&running, way, &token("ann")).await;
        line.subscribe(json!({ "topics": ["known:*", "plain:*"] })).await;
        for topic in ["known:a", "plain:a"] {
            running.publish(topic, "live_snapshot", &json!({}));
            assert_eq!(line.expect("live_snapshot").await.topic(), Some(topic));
        }
        ready.notify_one();
        line.subscribe(json!({ "topics": ["known:a", "plain:a"] })).await;
        assert_eq!(line.expect("state_snapshot").await.topic(), Some("known:a"));
        line.subscribe(json!({ "topics": ["known:a"] })).await;
        line.expect_silence().await;
        running.publish("known:a", "live", &json!({}));
        line.expect("live").await;
    }
}

/// Messages of the past, put upon a state that has them in it already, would take it back.
#[tokio::test]
async fn after_a_gap_the_past_comes_before_the_state_that_the_application_knows() {
    for way in WAYS {
        let ready = Arc::new(Notify::new());
        let config = Config { history_messages: 3, ring_messages: 3, ..closed() };
        let server = Server::builder(config).snapshots(Provider(Arc::clone(&ready))).bind().await.expect("binds");
        let running = Running::serve(server);
        for number in 0..70 {
            running.publish("known:a", "past", &json!({ "n": number }));
        }
        let past = running.server.history("known:a", &HistoryQuery::default()).await.expect("in memory");
        let epochs = BTreeMap::from([("known:a", past.expect("a history").epoch)]);
        let mut line = Line::of(&running, way, &token("ann")).await;
        let answer = line.subscribe(recovery(&["known:a"], &[("known:a", 1)], &epochs)).await;
        assert_eq!(answer["recovery"]["known:a"]["recovered"], false);
        for number in 67..70 {
            assert_eq!(payload(&line.expect("past").await)["n"], number, "right after the answer");
        }
        running.publish("known:a", "live", &json!({}));
        line.expect_silence().await;
        ready.notify_one();
        line.expect("state_snapshot").await;
        line.expect("live").await;
        running.publish("known:a", "live", &json!({}));
        line.expect("live").await;
    }
}

#[tokio::test]
async fn states_are_told_when_they_are_asked_for() {
    for way in WAYS {
        let (running, ready) = with_provider().await;
        running.publish("plain", "cpu_snapshot", &json!({ "load": 1 }));
        let claims = TokenClaims {
            topics: Some(Acl { allow: Vec::new(), deny: vec!["secret".into()] }),
            ..TokenClaims::new("ann", Duration::from_secs(60))
        };
        let mut line = Line::of(&running, way, &make_token(&SECRET.into(), &claims).expect("made")).await;
        ready.notify_one();
        line.say(&json!({ "t": "sync_request", "id": "q", "p": { "topics": ["known:a", "plain", "secret"] } })).await;
        for (kind, topic) in [("state_snapshot", "known:a"), ("cpu_snapshot", "plain")] {
            assert_eq!(line.expect(kind).await.topic(), Some(topic));
        }
        let done = line.expect("snapshot_complete").await;
        assert_eq!(done.correlation_id(), Some("q"));
        let done = payload(&done);
        assert_eq!((&done["success"], &done["snapshots_sent"]), (&json!(false), &json!(["known:a", "plain"])));
        let refused = line.ask("sync_request", json!({ "topics": ["secret"] }), "snapshot_complete").await;
        assert_eq!((&refused["success"], &refused["snapshots_sent"]), (&json!(false), &json!([])));

        line.subscribe(json!({ "topics": ["plain"] })).await;
        line.expect("cpu_snapshot").await;
        line.say(&json!({ "t": "sync_request", "id": "all", "p": {} })).await;
        assert_eq!(line.expect("cpu_snapshot").await.topic(), Some("plain"), "all that it is subscribed to");
        assert_eq!(payload(&line.expect("snapshot_complete").await)["success"], true);
        let none = line.ask("sync_request", json!({ "include_snapshots": false }), "snapshot_complete").await;
        assert_eq!((&none["success"], &none["snapshots_sent"]), (&json!(true), &json!([])));
    }
}

#[tokio::test]
async fn a_state_that_cannot_be_had_is_told_and_holds_nothing_up_for_ever() {
    let (running, _) = with_provider().await;
    let mut line = Line::of(&running, Way::Memory, &token("ann")).await;
    line.subscribe(json!({ "topics": ["broken:a"] })).await;
    running.publish("broken:a", "live", &json!({}));
    let notice = line.expect("snapshot_complete").await;
    assert_eq!((notice.correlation_id(), &payload(&notice)["success"]), (None, &json!(false)));
    line.expect("live").await;
    assert_eq!(running.server.stats().snapshots_failed, 1);
}

#[tokio::test]
async fn a_provider_that_panics_holds_nothing_up_for_ever() {
    let (running, _) = with_provider().await;
    let mut line = Line::of(&running, Way::Memory, &token("ann")).await;
    line.subscribe(json!({ "topics": ["panics:a"] })).await;
    running.publish("panics:a", "live", &json!({}));
    line.say(&json!({ "t": "sync_request", "id": "q", "p": { "topics": ["panics:b"] } })).await;
    let (mut live, mut notices) = (0, Vec::new());
    while live == 0 || notices.len() < 2 {
        let message = line.message().await;
        match message.kind() {
            "live" => live += 1,
            "snapshot_complete" => {
                assert_eq!(payload(&message)["success"], false);
                notices.push(message.correlation_id().map(str::to_owned));
            }
            other => panic!("{other}"),
        }
    }
    notices.sort();
    assert_eq!(notices, [None, Some("q".to_owned())]);
    assert_eq!(running.server.stats().snapshots_failed, 2);
}

#[tokio::test]
async fn questions_for_states_are_bounded() {
    let (running, _ready) = with_provider().await;
    let mut line = Line::of(&running, Way::Memory, &token("ann")).await;
    for _ in 0..4 {
        line.say(&json!({ "t": "sync_request", "p": { "topics": ["known:a"] } })).await;
    }
    assert_eq!(line.ask("sync_request", json!({ "topics": ["known:a"] }), "error").await["code"], "RATE_LIMITED");
}

#[tokio::test]
async fn a_state_that_takes_its_time_holds_up_no_other_that_was_asked_for_with_it() {
    for way in WAYS {
        let (running, ready) = with_provider().await;
        running.publish("plain", "cpu_snapshot", &json!({ "load": 1 }));
        let mut line = Line::of(&running, way, &token("ann")).await;
        line.say(&json!({ "t": "sync_request", "id": "q", "p": { "topics": ["known:a", "plain"] } })).await;
        assert_eq!(line.expect("cpu_snapshot").await.topic(), Some("plain"));
        line.expect_silence().await;
        ready.notify_one();
        assert_eq!(line.expect("state_snapshot").await.topic(), Some("known:a"));
        let done = payload(&line.expect("snapshot_complete").await);
        assert_eq!(done["success"], true);
        assert_eq!(done["snapshots_sent"], json!(["plain", "known:a"]), "as they came");
    }
}

/// Tells large states at once, and counts them.
struct Large(Arc<AtomicUsize>);

impl SnapshotProvider for Large {
    fn snapshot(&self, _connection: &ConnectionHandle, topic: &str) -> Option<SnapshotFuture> {
        let payload = Payload::new(&json!({ "of": topic, "text": "x".repeat(60_000) })).ok()?;
        let told = Arc::clone(&self.0);
        Some(Box::pin(async move {
            told.fetch_add(1, Ordering::SeqCst);
            Ok(vec![Outgoing::new("state_snapshot", payload)])
        }))
    }
}

#[tokio::test]
async fn no_more_states_are_made_than_a_client_reads() {
    let told = Arc::new(AtomicUsize::new(0));
    let builder = Server::builder(closed()).snapshots(Large(Arc::clone(&told)));
    let running = Running::serve(builder.bind().await.expect("binds"));
    // Through memory, so that it is certain what was read.
    let mut line = Line::open(&running, Way::Memory, &format!("compression=false&token={}", token("ann"))).await;
    let topics: Vec<String> = (0..300).map(|n| format!("t:{n}")).collect();
    line.say(&json!({ "t": "sync_request", "id": "q", "p": { "topics": topics } })).await;
    line.expect("state_snapshot").await;
    tokio::time::sleep(common::QUIET).await;
    let made = told.load(Ordering::SeqCst);
    assert!(made < 60, "{made} states for a client that read one");
    assert!(running.server.memory_held() > (made - 2) * 60_000, "they count as memory of the connection");
    for _ in 1..300 {
        line.expect("state_snapshot").await;
    }
    let done = payload(&line.expect("snapshot_complete").await);
    assert_eq!((&done["success"], done["snapshots_sent"].as_array().map(Vec::len)), (&json!(true), Some(300)));
    drop(line);
    assert_eq!(running.server.memory_held(), 0);
}

/// Leaves a topic whose state is awaited; the next one is read in its place.
async fn leave(line: &mut Line, topic: &str) {
    line.subscribe(json!({ "action": "unsubscribe", "topics": [topic] })).await;
}

#[tokio::test]
async fn a_topic_that_was_left_holds_up_neither_the_next_one_nor_itself() {
    for way in WAYS {
        let (running, ready) = with_provider().await;
        let mut line = Line::of(&running, way, &token("ann")).await;
        line.subscribe(json!({ "topics": ["known:a"] })).await;
        running.publish("known:a", "live", &json!({}));
        line.expect_silence().await;
        leave(&mut line, "known:a").await;
        line.subscribe(json!({ "topics": ["other"] })).await;
        running.publish("other", "live", &json!({}));
        assert_eq!(line.expect("live").await.topic(), Some("other"));
        leave(&mut line, "other").await;

        // The slot is read for the same topic again: only the answer to the new question counts.
        line.subscribe(json!({ "topics": ["known:a"] })).await;
        running.publish("known:a", "live", &json!({}));
        line.expect_silence().await;
        ready.notify_one();
        assert_eq!(line.expect("state_snapshot").await.topic(), Some("known:a"));
        assert_eq!(line.expect("live").await.topic(), Some("known:a"));
        line.expect_silence().await;
    }
}

/// Counts the states that are being asked for; none is ever told.
struct Silent(Arc<AtomicUsize>);

/// One question of [`Silent`].
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SnapshotProvider for Silent {
    fn snapshot(&self, _connection: &ConnectionHandle, _topic: &str) -> Option<SnapshotFuture> {
        let open = Arc::clone(&self.0);
        Some(Box::pin(async move {
            open.fetch_add(1, Ordering::SeqCst);
            let _open = Open(open);
            std::future::pending().await
        }))
    }
}

#[tokio::test]
async fn states_of_one_client_are_asked_for_a_few_at_a_time_and_no_longer_than_it_wants_them() {
    for way in WAYS {
        let open = Arc::new(AtomicUsize::new(0));
        let builder = Server::builder(closed()).snapshots(Silent(Arc::clone(&open)));
        let running = Running::serve(builder.bind().await.expect("binds"));
        let becomes = async |count: usize| {
            let done = async {
                while open.load(Ordering::SeqCst) != count {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, done).await.expect("in time");
        };
        let mut line = Line::of(&running, way, &token("ann")).await;
        let topics: Vec<String> = (0..40).map(|n| format!("t:{n}")).collect();
        for topic in &topics {
            line.subscribe(json!({ "topics": [topic] })).await;
        }
        becomes(16).await;
        for _ in 0..40 {
            leave(&mut line, "t:0").await;
            line.subscribe(json!({ "topics": ["t:0"] })).await;
        }
        line.expect_silence().await;
        assert_eq!(open.load(Ordering::SeqCst), 16, "what was left is not asked for any more");
        line.subscribe(json!({ "action": "unsubscribe", "topics": topics[..39] })).await;
        becomes(1).await;
        line.say(&json!({ "t": "sync_request", "p": { "topics": ["known:a"] } })).await;
        becomes(2).await;
        line.cut();
        becomes(0).await;
    }
}

#[tokio::test]
async fn a_close_takes_nothing_along_that_waits_for_a_state() {
    for way in WAYS {
        let (running, _ready) = with_provider().await;
        let mut line = Line::of(&running, way, &token("ann")).await;
        line.subscribe(json!({ "topics": ["known:a"] })).await;
        running.publish("known:a", "live", &json!({}));
        line.expect_silence().await;
        let stop = tokio::spawn({
            let server = running.server.clone();
            async move { server.shutdown(PATIENCE).await }
        });
        let told = line.expect("snapshot_complete").await;
        assert_eq!((told.correlation_id(), &payload(&told)["success"]), (None, &json!(false)));
        assert_eq!(line.expect("live").await.topic(), Some("known:a"));
        line.cut();
        assert_eq!(stop.await.expect("stops"), 0);
        assert_eq!(running.server.stats().snapshots_failed, 1);
    }
}

/// `subscription_update` with the offset that is known of each topic.
fn recovery(topics: &[&str], known: &[(&str, u64)], epochs: &BTreeMap<&str, String>) -> Value {
    let position =
        |(topic, offset): &(&str, u64)| (topic.to_string(), json!({ "epoch": epochs[topic], "offset": offset }));
    let positions: serde_json::Map<_, _> = known.iter().map(position).collect();
    json!({ "topics": topics, "recover": true, "recovery": positions })
}

#[tokio::test]
async fn a_pattern_recovers_what_its_reader_may_read_and_nothing_else() {
    for way in WAYS {
        let running = Running::start(closed()).await;
        let mut epochs = BTreeMap::new();
        for topic in ["room:1", "room:secret", "hall"] {
            for n in 0..3 {
                running.publish(topic, "item", &json!({ "n": n }));
            }
            let page = running.server.history(topic, &HistoryQuery::default()).await.expect("in memory");
            epochs.insert(topic, page.expect("a history").epoch);
        }
        let claims = TokenClaims {
            topics: Some(Acl { allow: vec!["room:*".into()], deny: vec!["*secret*".into()] }),
            ..TokenClaims::new("ann", Duration::from_secs(60))
        };
        let mut line = Line::of(&running, way, &make_token(&SECRET.into(), &claims).expect("made")).await;
        let known = [("room:1", 0), ("room:secret", 0), ("hall", 0)];
        let answer = line.subscribe(recovery(&["room:*"], &known, &epochs)).await;
        let told: Vec<_> = answer["recovery"].as_object().expect("a map").keys().collect();
        assert_eq!(told, ["room:1"]);
        for n in 1..3 {
            let item = line.expect("item").await;
            assert_eq!((item.topic(), payload(&item)["n"].as_u64()), (Some("room:1"), Some(n)));
        }
        line.expect_silence().await;
        let question = recovery(&["room:secret"], &known[1..2], &epochs);
        let mut again = question.clone();
        again["action"] = json!("recover");
        for request in [question, again] {
            let answer = line.subscribe(request).await;
            assert_eq!(answer["failed_topics"], json!([{ "topic": "room:secret", "error": "TOPIC_DENIED" }]));
            assert_eq!(answer["recovery"].get("room:secret"), None);
        }
        line.expect_silence().await;
    }
}

#[tokio::test]
async fn a_name_that_is_refused_is_not_recovered_unless_a_pattern_covers_it() {
    for way in WAYS {
        // Whoever comes first to be seen takes all the room there is for that.
        let running = Running::start(Config { presence_bytes: 1, ..closed() }).await;
        let mut first = Line::of(&running, way, &speaker("ann")).await;
        first.subscribe(json!({ "topics": ["hall"], "presence": { "hall": null } })).await;
        for n in 0..3 {
            running.publish("room", "item", &json!({ "n": n }));
        }
        let page = running.server.history("room", &HistoryQuery::default()).await.expect("in memory");
        let epochs = BTreeMap::from([("room", page.expect("a history").epoch)]);
        let mut line = Line::of(&running, way, &speaker("bob")).await;
        line.subscribe(json!({ "topics": ["room"] })).await;
        // Refused by the server, for want of room, and by the protocol, for what is told.
        for (told, code) in [(json!(null), "SERVER_FULL"), (json!("x".repeat(5000)), "MESSAGE_TOO_LARGE")] {
            let mut request = recovery(&["room"], &[("room", 0)], &epochs);
            request["presence"] = json!({ "room": told });
            let answer = line.subscribe(request.clone()).await;
            assert_eq!(answer["failed_topics"], json!([{ "topic": "room", "error": code }]));
            assert_eq!(answer.get("recovery"), None, "{answer}");
            line.expect_silence().await;
            line.subscribe(json!({ "topics": ["ro*"] })).await;
            let answer = line.subscribe(request).await;
            assert_eq!(answer["recovery"]["room"]["count"], 2, "{answer}");
            for n in 1..3 {
                assert_eq!(payload(&line.expect("item").await)["n"], n);
            }
            leave(&mut line, "ro*").await;
        }
    }
}

#[tokio::test]
async fn an_encrypted_connection_gets_its_replay_sealed() {
    for way in WAYS {
        let running = Running::start(closed()).await;
        for n in 0..3 {
            running.publish("room", "item", &json!({ "n": n }));
        }
        let page =
            running.server.history("room", &HistoryQuery::default()).await.expect("in memory").expect("a history");
        let epochs = BTreeMap::from([("room", page.epoch)]);
        let mut line = Line::open(&running, way, &format!("encryption=true&token={}", token("ann"))).await;
        let (mut sealer, mut opener) = line.agree().await;
        let request = json!({ "t": "subscription_update", "p": recovery(&["room"], &[("room", 0)], &epochs) });
        let sealed = sealer.seal(request.to_string().as_bytes()).expect("a nonce is left");
        line.say_frame(Frame::Binary(sealed)).await;
        let mut heard = Vec::new();
        for _ in 0..3 {
            let frame = line.frame().await;
            assert!(matches!(&frame, Frame::Binary(bytes) if bytes.starts_with(b"E:")), "{frame:?}");
            let message = wire::decode(&frame, &Limits::default(), Some(&mut opener)).expect("decodable");
            heard.push((message.kind().to_owned(), message.head().offset));
        }
        assert_eq!(heard[0].0, "subscription_update");
        assert_eq!(heard[1..], [("item".to_owned(), Some(1)), ("item".to_owned(), Some(2))]);
    }
}

#[tokio::test]
async fn a_slow_reader_catches_up_as_long_as_the_ring_holds_what_it_missed() {
    for way in WAYS {
        let config = Config { ring_messages: 400, ring_bytes: 64 << 20, history_messages: 10, ..open() };
        let running = Running::start(config).await;
        let mut slow = Line::open(&running, way, "compression=false").await;
        slow.subscribe(json!({ "topics": ["t"] })).await;
        let text = "x".repeat(20_000);
        // Far more than a socket and its queue take, so that most of it waits in the ring.
        for n in 0..400 {
            running.publish("t", "item", &json!({ "n": n, "text": text }));
        }
        for n in 0..400 {
            assert_eq!(payload(&slow.expect("item").await)["n"], n);
        }
        for n in 0..2000 {
            running.publish("t", "item", &json!({ "n": n, "text": text }));
        }
        let mut next = 0;
        let mut lost = 0;
        while next < 2000 {
            let message = slow.message().await;
            let told = payload(&message);
            match message.kind() {
                "lost" => {
                    assert_eq!(told["from"], 400 + next);
                    let count = told["count"].as_u64().expect("a number");
                    (lost, next) = (lost + count, next + count);
                    assert_eq!(told["to"], 400 + next - 1);
                }
                _ => {
                    assert_eq!(told["n"], next);
                    next += 1;
                }
            }
        }
        assert!(lost > 0 && running.server.stats().messages_lost == lost, "{lost}");
    }
}
