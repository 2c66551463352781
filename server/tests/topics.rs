//! Presence, queue groups, snapshots and histories, each over a socket and through memory.

mod common;

use std::{collections::BTreeMap, time::Duration};

use common::{
    Running, SECRET, closed,
    line::{Line, WAYS, Way},
    open, payload,
};
use serde_json::{Value, json};
use wse_server::{Acl, Config, HistoryQuery, PresenceQuery, TokenClaims, make_token};

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
        assert_eq!(page, json!({ "topic": "room", "total": 3, "members": [member("ann"), member("bob")] }));
        let rest = json!({ "topic": "room", "after": "bob" });
        let page = reader.ask("presence_request", rest, "presence_response").await;
        assert_eq!(page["members"], json!([member("cem")]));
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
