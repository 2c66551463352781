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
