//! A `Client` against a server of another make, whose frames are written by hand.

use bytes::Bytes;
use wse_client_core::{
    client::{Action, Client, Event, Input, Output},
    config::ClientConfig,
    io::{Frame, SocketId},
    rng::Seed,
    time::{Moment, WallTime},
    wire::{self, Limits},
};

const NOW: Moment = Moment::ORIGIN;

struct Driver {
    client: Client,
    socket: SocketId,
    /// Type and topic of each message that the application got.
    heard: Vec<(String, Option<String>)>,
}

impl Driver {
    /// Connected to a server that keeps a history and announces nothing else of ours.
    fn new(config: ClientConfig) -> Self {
        let client = Client::new(config, Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("config");
        let mut driver = Self { client, socket: SocketId(0), heard: Vec::new() };
        driver.client.connect(NOW);
        driver.topics();
        driver.client.handle(Input::Opened(driver.socket), NOW);
        driver.hear(r#"WSE{"t":"server_ready","p":{"details":{"features":{"recovery":true}}}}"#);
        driver.hear(r#"WSE{"t":"server_hello","p":{"features":{"recovery":true}}}"#);
        driver
    }

    /// Hands in a frame, and gives what the client asks about topics because of it.
    fn hear(&mut self, text: &str) -> Vec<String> {
        let frame = Frame::Text(Bytes::copy_from_slice(text.as_bytes()));
        self.client.handle(Input::Frame(self.socket, frame), NOW);
        self.topics()
    }

    fn publication(&mut self, offset: u64) -> Vec<String> {
        self.hear(&format!(r#"U{{"t":"k","tp":"t1","e":"a","o":{offset},"p":{{}}}}"#))
    }

    /// Action and topics of each request that goes out.
    fn topics(&mut self) -> Vec<String> {
        let mut asked = Vec::new();
        loop {
            match self.client.poll() {
                Output::Act(Action::Open { socket, .. }) => self.socket = socket,
                Output::Act(Action::Send { frame, .. }) => {
                    let message = wire::decode(&frame, &Limits::default(), None).expect("sound");
                    if message.kind() == "subscription_update" {
                        let payload: serde_json::Value = message.payload().parse().expect("JSON");
                        asked.push(format!("{} {}", payload["action"].as_str().unwrap_or_default(), payload["topics"]));
                    }
                }
                Output::Emit(Event::Message(message)) => {
                    self.heard.push((message.kind().to_owned(), message.topic().map(str::to_owned)));
                }
                Output::Act(_) | Output::Emit(_) => {}
                Output::Wait(_) => return asked,
            }
        }
    }
}

#[test]
fn what_a_question_about_a_gap_subscribed_to_goes_with_its_pattern() {
    let mut driver = Driver::new(ClientConfig { topics: vec!["t*".into(), "u".into()], ..ClientConfig::new("ws://a") });
    assert_eq!(driver.publication(0), Vec::<String>::new());
    assert_eq!(driver.publication(2), [r#"subscribe ["t1"]"#], "such a server knows no other way to ask");
    driver.client.unsubscribe(&["u"], NOW).expect("valid");
    assert_eq!(driver.topics(), [r#"unsubscribe ["u"]"#], "the pattern still wants it");
    driver.client.unsubscribe(&["t*"], NOW).expect("valid");
    assert_eq!(driver.topics(), [r#"unsubscribe ["t*","t1"]"#]);
}

#[test]
fn a_publisher_cannot_pass_a_wrapped_message_for_another_topics_or_the_servers() {
    let mut driver = Driver::new(ClientConfig { topics: vec!["chat".into()], ..ClientConfig::new("ws://a") });
    for (inner, heard) in [
        (r#"{"t":"order","tp":"admin"}"#, "order"),
        (r#"{"t":"order"}"#, "order"),
        (r#"{"t":"lost"}"#, "priority_message"),
        (r#"{"t":"presence_join"}"#, "priority_message"),
        (r#"{"t":"priority_message","p":{"message":{"t":"order","tp":"admin"}}}"#, "priority_message"),
    ] {
        driver.hear(&format!(r#"U{{"t":"priority_message","tp":"chat","p":{{"message":{inner}}}}}"#));
        assert_eq!(driver.heard.pop(), Some((heard.to_owned(), Some("chat".to_owned()))), "{inner}");
    }
}
