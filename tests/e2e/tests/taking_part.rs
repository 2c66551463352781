//! The native client against the real server: seen in a topic, and sharing its messages, over connections that break.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};
use wse_client::{Client, Event, NoticeKind, Outgoing, Payload, PresenceChange, SubscribeOptions};
use wse_server::{Acl, Config, PresenceQuery, Server, TokenClaims, make_token};

const SECRET: &str = "a secret of at least thirty-two bytes";
/// Longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that ends with the test.
struct Running {
    server: Server,
    serving: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Running {
    async fn start() -> Self {
        let config = Config { port: 0, jwt_secret: Some(SECRET.into()), ..Config::default() };
        let server = Server::builder(config).bind().await.expect("a free port");
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve().await.expect("serves") }
        });
        Self { server, serving }
    }

    async fn client(&self, user: &str) -> Client {
        let claims = TokenClaims { publish: Some(Acl::default()), ..TokenClaims::new(user, Duration::from_secs(600)) };
        let token = make_token(&SECRET.into(), &claims).expect("made");
        let url = format!("ws://{}/wse", self.server.local_addr());
        Client::builder(url).token(token).connect().await.expect("connects")
    }

    fn publish(&self, topic: &str, numbers: std::ops::Range<u64>) {
        for n in numbers {
            let message = Outgoing::new("job", Payload::new(&json!({ "n": n })).expect("JSON"));
            self.server.publish(topic, message).expect("publishable");
        }
    }

    /// Waits until it knows that the connections that were dropped are over.
    async fn forgets_all_but(&self, connections: usize) {
        let forgotten = async {
            while self.server.connection_count() > connections {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, forgotten).await.expect("their ends are seen");
    }

    async fn people(&self, topic: &str) -> BTreeMap<String, Value> {
        let page = self.server.presence(topic, &PresenceQuery::default()).await;
        page.members.into_iter().map(|member| (member.user_id, member.data)).collect()
    }
}

fn telling(presence: &Value) -> SubscribeOptions {
    SubscribeOptions::default().with_presence(presence).expect("JSON")
}

/// The next notice of presence: its kind, topic and content.
async fn next_change(client: &mut Client) -> (NoticeKind, String, PresenceChange) {
    let notice = async {
        loop {
            match client.next().await.expect("open") {
                Event::Notice(notice) if notice.kind.is_presence() => return notice,
                _ => {}
            }
        }
    };
    let notice = timeout(PATIENCE, notice).await.expect("a notice in time");
    let change = notice.presence().expect("the server's own shape");
    (notice.kind, notice.source.topic().expect("of a topic").to_owned(), change)
}

async fn expect_change(client: &mut Client, kind: NoticeKind, user: &str, data: Value) {
    let change = PresenceChange { user_id: user.to_owned(), data };
    assert_eq!(next_change(client).await, (kind, "room".to_owned(), change));
}

/// Drops the connection, and waits for the answer to the request for all topics on the next one.
async fn reconnected(client: &mut Client) {
    drop(client.try_next_batch(usize::MAX));
    client.reconnect();
    let back = async {
        let mut connected = false;
        loop {
            match client.next().await.expect("open") {
                Event::Connected(_) => connected = true,
                Event::Subscribed(outcome) if connected && outcome.confirmed => return outcome,
                _ => {}
            }
        }
    };
    let outcome = timeout(PATIENCE, back).await.expect("back in time");
    assert!(outcome.refused.is_empty(), "{outcome:?}");
}

#[tokio::test]
async fn two_users_see_each_other_come_change_and_go() {
    let running = Running::start().await;
    let mut ann = running.client("ann").await;
    let outcome = ann.subscribe_with(&["room"], &telling(&json!({ "mood": "fine" }))).await.expect("open");
    assert_eq!(outcome.present, [("room".to_owned(), 1)]);
    expect_change(&mut ann, NoticeKind::PresenceJoin, "ann", json!({ "mood": "fine" })).await;
    let mut bob = running.client("bob").await;
    bob.subscribe_with(&["room"], &telling(&json!(true))).await.expect("open");
    expect_change(&mut ann, NoticeKind::PresenceJoin, "bob", Value::Null).await;
    bob.subscribe_with(&["room"], &telling(&json!(["away"]))).await.expect("open");
    expect_change(&mut ann, NoticeKind::PresenceUpdate, "bob", json!(["away"])).await;

    let first = ann.presence("room", None, Some(1)).await.expect("answered");
    assert_eq!((first.total, first.members.len(), first.next()), (2, 1, Some("ann")));
    let second = ann.presence("room", first.next(), Some(1)).await.expect("answered");
    assert_eq!((second.members[0].user_id.as_str(), second.next()), ("bob", None));
    assert_eq!(ann.presence("ro*", None, None).await.expect_err("no name").code(), "INVALID_TOPIC");

    // A connection breaks, and the next one says what was said before.
    reconnected(&mut bob).await;
    running.forgets_all_but(2).await;
    assert_eq!(running.people("room").await["bob"], json!(["away"]));
    bob.subscribe_with(&["room"], &telling(&json!("back"))).await.expect("open");
    let mut change = next_change(&mut ann).await.0;
    if change == NoticeKind::PresenceLeave {
        // The end of the old connection came before the new one.
        expect_change(&mut ann, NoticeKind::PresenceJoin, "bob", json!(["away"])).await;
        change = next_change(&mut ann).await.0;
    }
    assert_eq!(change, NoticeKind::PresenceUpdate);

    bob.subscribe_with(&["room"], &telling(&json!(false))).await.expect("open");
    expect_change(&mut ann, NoticeKind::PresenceLeave, "bob", json!("back")).await;
    assert_eq!(running.people("room").await, BTreeMap::from([("ann".to_owned(), json!({ "mood": "fine" }))]));
    running.publish("room", 0..1);
    let heard = async {
        while !matches!(bob.next().await.expect("open"), Event::Message(message) if message.kind() == "job") {}
    };
    timeout(PATIENCE, heard).await.expect("it reads on unseen");
    ann.close().await;
    expect_change(&mut bob, NoticeKind::PresenceLeave, "ann", json!({ "mood": "fine" })).await;
}

/// Numbers that came to each member, until each of these came to one of them.
async fn shared_out(members: &mut [Client], numbers: std::ops::Range<u64>) -> Vec<Vec<u64>> {
    let mut heard = vec![Vec::new(); members.len()];
    let wanted: BTreeSet<u64> = numbers.collect();
    let listening = async {
        while heard.iter().map(Vec::len).sum::<usize>() < wanted.len() {
            for (member, heard) in members.iter_mut().zip(&mut heard) {
                let messages = member.try_next_batch(1000).into_iter().filter_map(|event| event.message().cloned());
                let jobs = messages.filter(|message| message.kind() == "job");
                heard.extend(jobs.map(|job| job.payload().parse::<Value>().expect("JSON")["n"].as_u64().expect("n")));
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, listening).await.expect("all in time");
    let all: Vec<u64> = heard.iter().flatten().copied().collect();
    assert_eq!(all.iter().copied().collect::<BTreeSet<u64>>(), wanted, "each once");
    assert_eq!(all.len(), wanted.len());
    heard
}

#[tokio::test]
async fn three_members_share_the_messages_also_after_their_connections_broke() {
    let running = Running::start().await;
    let mut members = Vec::new();
    let workers = SubscribeOptions::default().with_group("workers");
    for user in ["ann", "bob", "cem"] {
        let member = running.client(user).await;
        member.subscribe_with(&["jobs"], &workers).await.expect("open");
        members.push(member);
    }
    running.publish("jobs", 0..300);
    let heard = shared_out(&mut members, 0..300).await;
    assert!(heard.iter().all(|heard| heard.len() > 50), "{:?}", heard.iter().map(Vec::len).collect::<Vec<_>>());

    for member in &mut members {
        reconnected(member).await;
    }
    running.forgets_all_but(3).await;
    running.publish("jobs", 300..600);
    let heard = shared_out(&mut members, 300..600).await;
    assert!(heard.iter().all(|heard| heard.len() > 50), "{:?}", heard.iter().map(Vec::len).collect::<Vec<_>>());
    // Nothing came twice, and nothing is said to be missing.
    for member in &members {
        let late = member.try_next_batch(1000);
        let odd = |event: &Event| matches!(event, Event::Message(_) | Event::Lost { .. });
        assert!(!late.iter().any(odd), "{late:?}");
    }
}

#[tokio::test]
async fn a_member_that_asks_for_another_group_moves_there() {
    let running = Running::start().await;
    let mut members = [running.client("ann").await, running.client("bob").await];
    for member in &members {
        member.subscribe(&["jobs"]).await.expect("open");
        member.subscribe_with(&["jobs"], &SubscribeOptions::default().with_group("a")).await.expect("open");
    }
    running.publish("jobs", 0..20);
    shared_out(&mut members, 0..20).await;
    members[1].subscribe_with(&["jobs"], &SubscribeOptions::default().with_group("b")).await.expect("open");
    running.publish("jobs", 20..40);
    for member in &mut members {
        shared_out(std::slice::from_mut(member), 20..40).await;
    }
}

#[tokio::test]
async fn who_hides_again_and_again_misses_nothing_of_a_topic_with_a_history() {
    let running = Running::start().await;
    let mut ann = running.client("ann").await;
    ann.subscribe(&["room"]).await.expect("open");
    let publishing = async {
        for n in 0..2000 {
            running.publish("room", n..n + 1);
            tokio::task::yield_now().await;
        }
    };
    let sender = ann.clone();
    let hiding = async {
        for n in 0..40 {
            let outcome = sender.subscribe_with(&["room"], &telling(&json!(n % 2 == 0))).await.expect("open");
            assert!(outcome.confirmed && outcome.refused.is_empty(), "{outcome:?}");
        }
    };
    let reading = async {
        let mut heard = Vec::new();
        while heard.len() < 2000 {
            let event = ann.next().await.expect("open");
            assert!(!matches!(event, Event::Lost { .. }), "{event:?}");
            if let Event::Message(job) = event {
                heard.push(job.payload().parse::<Value>().expect("JSON")["n"].as_u64().expect("n"));
            }
        }
        heard
    };
    let all = async { tokio::join!(publishing, hiding, reading) };
    let ((), (), heard) = timeout(PATIENCE, all).await.expect("all in time");
    assert!(heard.iter().copied().eq(0..2000), "in order, each once");
}
