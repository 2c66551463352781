//! Requests about topics that a server refuses as a whole, or limits.

use bytes::Bytes;
use wse_client_core::{
    client::{Action, Client, Event, Input, Output, RequestId, SubscriptionOutcome},
    config::ClientConfig,
    io::{Frame, SocketId},
    rng::Seed,
    time::{Moment, WallTime},
    wire::{self, Limits, Message},
};

use crate::{SECOND, config};

const NOW: Moment = Moment::from_millis(1000);

/// A client and what came out of it.
struct Bench {
    client: Client,
    sent: Vec<Message>,
    events: Vec<Event>,
}

impl Bench {
    fn connected(config: ClientConfig, ready: &str) -> Self {
        let client = Client::new(config, Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("good settings");
        let mut bench = Self { client, sent: Vec::new(), events: Vec::new() };
        bench.client.connect(NOW);
        bench.drain();
        bench.client.handle(Input::Opened(SocketId(1)), NOW);
        bench.hear(ready);
        bench
    }

    fn hear(&mut self, text: &str) {
        let frame = Frame::Text(Bytes::copy_from_slice(text.as_bytes()));
        self.client.handle(Input::Frame(SocketId(1), frame), NOW);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll() {
                Output::Act(Action::Send { frame, .. }) => {
                    self.sent.push(wire::decode(&frame, &Limits::default(), None).expect("our own frame"));
                }
                Output::Act(_) => {}
                Output::Emit(event) => self.events.push(event),
                Output::Wait(_) => return,
            }
        }
    }

    /// Ids of the requests about topics that went out, with their topics.
    fn asked(&self) -> Vec<(String, Vec<String>)> {
        let requests = self.sent.iter().filter(|message| message.kind() == "subscription_update");
        requests
            .map(|message| {
                let payload: serde_json::Value = message.payload().parse().expect("JSON");
                let topics = serde_json::from_value(payload["topics"].clone()).expect("names");
                (message.id().expect("requests have ids").to_owned(), topics)
            })
            .collect()
    }

    fn outcomes(&self, request: RequestId) -> Vec<&SubscriptionOutcome> {
        let outcomes = self.events.iter().filter_map(|event| match event {
            Event::Subscribed(outcome) => Some(outcome),
            _ => None,
        });
        outcomes.filter(|outcome| outcome.request == request).collect()
    }

    fn server_errors(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::ServerError(_))).count()
    }
}

const READY: &str = r#"WSE{"t":"server_ready","p":{}}"#;

fn error(id: &str, code: &str) -> String {
    format!(r#"WSE{{"t":"error","cid":"{id}","p":{{"code":"{code}","message":"no"}}}}"#)
}

fn refusal(id: Option<&str>, topic: &str) -> String {
    let id = id.map_or(String::new(), |id| format!(r#""cid":"{id}","#));
    let payload = format!(r#"{{"action":"subscribe","failed_topics":[{{"topic":"{topic}","error":"TOPIC_DENIED"}}]}}"#);
    format!(r#"WSE{{"t":"subscription_update",{id}"p":{payload}}}"#)
}

#[test]
fn an_error_that_names_a_request_is_its_answer() {
    let mut bench = Bench::connected(config(), READY);
    let request = bench.client.subscribe(&["a", "b"], NOW).expect("valid");
    bench.drain();
    let id = bench.asked()[0].0.clone();
    bench.hear(&error("another", "TOO_MANY_TOPICS"));
    assert_eq!((bench.outcomes(request).len(), bench.server_errors()), (0, 1));
    bench.hear(&error(&id, "TOO_MANY_TOPICS"));
    let [outcome] = bench.outcomes(request)[..] else { panic!("{:?}", bench.events) };
    let refused = ["a", "b"].map(|name| (name.to_owned(), "TOO_MANY_TOPICS".to_owned()));
    assert_eq!((&outcome.accepted, &outcome.refused[..], outcome.confirmed), (&vec![], &refused[..], true));
    assert!(bench.client.topics().is_empty(), "it would be refused again");
    assert_eq!(bench.server_errors(), 1, "it is told once");
    bench.client.handle(Input::Wake, NOW + 6 * SECOND);
    bench.drain();
    assert_eq!(bench.outcomes(request).len(), 1);
}

#[test]
fn an_error_that_may_pass_ends_a_request_and_leaves_the_topics_wanted() {
    let mut bench = Bench::connected(config(), READY);
    let request = bench.client.subscribe(&["a"], NOW).expect("valid");
    bench.drain();
    let id = bench.asked()[0].0.clone();
    bench.hear(&error(&id, "SERVER_ERROR"));
    let [outcome] = bench.outcomes(request)[..] else { panic!("{:?}", bench.events) };
    assert_eq!((outcome.refused.len(), outcome.confirmed), (0, false));
    assert_eq!((bench.client.topics(), bench.server_errors()), (&["a".to_owned()][..], 1));
}

#[test]
fn an_error_that_comes_late_refuses_what_it_names() {
    let mut bench = Bench::connected(config(), READY);
    let request = bench.client.subscribe(&["a"], NOW).expect("valid");
    bench.drain();
    let id = bench.asked()[0].0.clone();
    bench.client.handle(Input::Wake, NOW + 6 * SECOND);
    bench.drain();
    assert_eq!(bench.outcomes(request).len(), 1);
    bench.hear(&error(&id, "TOPIC_DENIED"));
    assert!(bench.client.topics().is_empty());
    assert_eq!((bench.outcomes(request).len(), bench.outcomes(RequestId(0)).len()), (1, 1));
}

#[test]
fn a_late_answer_of_a_published_server_ends_no_other_request() {
    let mut bench = Bench::connected(config(), READY);
    bench.client.subscribe(&["a", "denied"], NOW).expect("valid");
    bench.drain();
    let late = bench.asked()[0].0.clone();
    bench.client.handle(Input::Wake, NOW + 6 * SECOND);
    bench.drain();
    let request = bench.client.subscribe(&["b"], NOW + 6 * SECOND).expect("valid");
    bench.drain();
    bench.hear(&refusal(Some(&late), "denied"));
    assert!(bench.outcomes(request).is_empty(), "its own answer is still to come");
    let [told] = bench.outcomes(RequestId(0))[..] else { panic!("{:?}", bench.events) };
    assert_eq!(told.refused, [("denied".to_owned(), "TOPIC_DENIED".to_owned())]);
    assert_eq!(bench.client.topics(), ["a", "b"]);
}

#[test]
fn no_topic_is_given_up_without_a_word_where_answers_name_no_request() {
    let mut bench = Bench::connected(config(), READY);
    bench.client.subscribe(&["denied"], NOW).expect("valid");
    bench.drain();
    bench.client.handle(Input::Wake, NOW + 6 * SECOND);
    bench.drain();
    let request = bench.client.subscribe(&["b"], NOW + 6 * SECOND).expect("valid");
    bench.drain();
    bench.hear(&refusal(None, "denied"));
    let [outcome] = bench.outcomes(request)[..] else { panic!("{:?}", bench.events) };
    assert_eq!((&outcome.accepted[..], outcome.refused.len()), (&["b".to_owned()][..], 0));
    let [told] = bench.outcomes(RequestId(0))[..] else { panic!("{:?}", bench.events) };
    assert_eq!(told.refused[0].0, "denied");
    assert_eq!(bench.client.topics(), ["b"]);
}

#[test]
fn a_server_is_asked_for_no_more_topics_at_once_than_it_takes() {
    let topics: Vec<String> = (0..5).map(|n| format!("t{n}")).collect();
    let ready = r#"WSE{"t":"server_ready","p":{"details":{"limits":{"max_topics":2}}}}"#;
    let mut bench = Bench::connected(ClientConfig { topics: topics.clone(), ..config() }, ready);
    let asked = bench.asked();
    assert_eq!(asked.iter().map(|(_, topics)| topics.len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(asked.iter().flat_map(|(_, topics)| topics.clone()).collect::<Vec<_>>(), topics);
    let all = RequestId(0);
    for (id, asked) in &asked[..2] {
        let refused = &asked[0];
        bench.hear(&format!(
            r#"WSE{{"t":"subscription_update","cid":"{id}","p":{{"action":"subscribe","failed_topics":["{refused}"]}}}}"#
        ));
        assert!(bench.outcomes(all).is_empty(), "one outcome, once all is answered");
    }
    bench.hear(&error(&asked[2].0, "TOPIC_DENIED"));
    let [outcome] = bench.outcomes(all)[..] else { panic!("{:?}", bench.events) };
    assert_eq!(outcome.accepted, ["t1", "t3"]);
    assert_eq!(outcome.refused.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["t0", "t2", "t4"]);
    assert!(outcome.confirmed);
    assert_eq!(bench.client.topics(), ["t1", "t3"]);
}

#[test]
fn a_request_that_waited_for_the_connection_ends_with_its_own_parts() {
    let client = Client::new(config(), Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("good settings");
    let mut bench = Bench { client, sent: Vec::new(), events: Vec::new() };
    bench.client.connect(NOW);
    let first = bench.client.subscribe(&["a", "b", "c"], NOW).expect("valid");
    let second = bench.client.subscribe(&["d"], NOW).expect("valid");
    bench.drain();
    bench.client.handle(Input::Opened(SocketId(1)), NOW);
    bench.hear(r#"WSE{"t":"server_ready","p":{"limits":{"max_topics":2}}}"#);
    let asked = bench.asked();
    let answer = |id: &str| format!(r#"WSE{{"t":"subscription_update","cid":"{id}","p":{{"action":"subscribe"}}}}"#);
    bench.hear(&answer(&asked[0].0));
    assert_eq!((bench.outcomes(first).len(), bench.outcomes(second).len()), (0, 0));
    bench.hear(&error(&asked[1].0, "SERVER_ERROR"));
    assert_eq!((bench.outcomes(first).len(), bench.outcomes(second).len()), (1, 1));
    assert!(!bench.outcomes(first)[0].confirmed && !bench.outcomes(second)[0].confirmed);
    assert_eq!(bench.client.topics().len(), 4, "they may be taken at the next connection");
}
