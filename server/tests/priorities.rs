//! What waits for one client: by priority, bounded, and nothing dropped without a word. Source: PROTOCOL.md §7.4, §7.6.

use http::HeaderMap;
use serde_json::{Value, json};
use wse_client_core::{
    io::Frame,
    wire::{self, Limits, Message, Priority},
};
use wse_server::{Attached, Carried, Config, ConnectionHandle, Handler, Outgoing, Payload, SendRefused, Server};

use std::sync::{Arc, Mutex};

/// Keeps the handle of the connection that came last.
#[derive(Clone, Default)]
struct Doorman(Arc<Mutex<Option<ConnectionHandle>>>);

impl Handler for Doorman {
    fn on_messages(&self, _: &ConnectionHandle, _: &mut Vec<Message>) {}

    fn on_connect(&self, connection: &ConnectionHandle) {
        *self.0.lock().expect("not poisoned") = Some(connection.clone());
    }
}

struct World {
    server: Server,
    client: Attached,
    handle: ConnectionHandle,
}

impl World {
    async fn new(config: Config, features: &Value) -> Self {
        let doorman = Doorman::default();
        let config = Config { port: 0, ..config };
        let server = Server::builder(config).handler(doorman.clone()).bind().await.expect("binds");
        let mut client = server.attach(&HeaderMap::new(), "client_version=2.0.7&compression=false", None);
        let handle = doorman.0.lock().expect("not poisoned").take().expect("connected");
        say(&mut client, "client_hello", &json!({ "features": features }));
        heard(&mut client);
        Self { server, client, handle }
    }

    fn send(&self, n: u64, priority: Priority) -> Result<usize, SendRefused> {
        self.handle.send(numbered(n, priority, 0)).map(|queued| queued.displaced.len())
    }

    /// The numbers that arrive, in their order.
    fn numbers(&mut self) -> Vec<u64> {
        heard(&mut self.client).iter().filter_map(|message| read(message)["n"].as_u64()).collect()
    }
}

fn numbered(n: u64, priority: Priority, size: usize) -> Outgoing {
    let payload = json!({ "n": n, "fill": "x".repeat(size) });
    Outgoing { priority, ..Outgoing::new("event", Payload::new(&payload).expect("plain JSON")) }
}

fn say(client: &mut Attached, kind: &str, payload: &Value) {
    client.on_frame(Frame::Text(json!({ "t": kind, "p": payload, "id": "q", "v": 1 }).to_string().into()));
}

fn heard(client: &mut Attached) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(Carried::Frame(frame)) = client.take() {
        messages.push(wire::decode(&frame, &Limits::default(), None).expect("decodable"));
    }
    messages
}

fn read(message: &Message) -> Value {
    message.payload().parse().expect("JSON")
}

#[tokio::test]
async fn the_most_urgent_goes_first() {
    let mut world = World::new(Config::default(), &json!({})).await;
    let order =
        [Priority::Background, Priority::Normal, Priority::Low, Priority::Critical, Priority::High, Priority::Critical];
    for (n, priority) in (0..).zip(order) {
        assert_eq!(world.send(n, priority), Ok(0));
    }
    assert_eq!(world.numbers(), [3, 5, 4, 1, 2, 0]);
}

#[tokio::test]
async fn what_is_critical_overtakes_what_waits_for_a_slow_reader() {
    let mut world = World::new(Config::default(), &json!({})).await;
    for n in 0..400 {
        world.handle.send(numbered(n, Priority::Normal, 1000)).expect("room");
    }
    // The client takes a little: some frames are on their way already and are not overtaken.
    let Some(Carried::Frame(_)) = world.client.take() else { panic!("nothing") };
    world.send(1000, Priority::Critical).expect("room");
    let numbers = world.numbers();
    let place = numbers.iter().position(|n| *n == 1000).expect("arrived");
    assert!(place < 64, "after {place} others");
    let rest: Vec<u64> = numbers.into_iter().filter(|n| *n != 1000).collect();
    assert_eq!(rest, (1..400).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_full_queue_drops_in_the_order_of_the_levels_and_tells_everyone() {
    let config = Config { queue_messages: 4, ..Config::default() };
    let mut world = World::new(config, &json!({})).await;
    for (n, priority) in
        [(0, Priority::Normal), (1, Priority::Background), (2, Priority::Low), (3, Priority::Background)]
    {
        assert_eq!(world.send(n, priority), Ok(0));
    }
    let displaced = world.handle.send(numbered(4, Priority::High, 0)).expect("makes room").displaced;
    assert_eq!(displaced[0].priority, Priority::Background);
    for n in 5..8 {
        assert_eq!(world.send(n, Priority::High), Ok(1));
    }
    // Only what must not be dropped is left.
    let refused = world.send(8, Priority::Critical).expect_err("full");
    assert!(matches!(refused, SendRefused::QueueFull { messages: 4, .. }), "{refused}");
    world.send(9, Priority::Background).expect_err("full");
    let stats = world.server.stats();
    let dropped = [
        stats.queue_dropped_background,
        stats.queue_dropped_low,
        stats.queue_dropped_normal,
        stats.queue_dropped_critical,
    ];
    assert_eq!(dropped, [3, 1, 1, 1]);
    assert_eq!(stats.sends_refused, 2);

    let messages = heard(&mut world.client);
    assert_eq!(messages[0].kind(), "lost");
    assert_eq!(read(&messages[0]), json!({ "count": 4, "priorities": { "1": 2, "3": 1, "5": 1 } }));
    let numbers: Vec<u64> = messages.iter().filter_map(|message| read(message)["n"].as_u64()).collect();
    assert_eq!(numbers, [4, 5, 6, 7]);
    // Told once.
    world.send(10, Priority::Low).expect("room");
    assert_eq!(heard(&mut world.client).iter().map(Message::kind).collect::<Vec<_>>(), ["event"]);
}

#[tokio::test]
async fn a_client_sets_the_size_of_its_queue() {
    let mut world = World::new(Config::default(), &json!({})).await;
    say(&mut world.client, "config_update", &json!({ "max_queue_size": 100 }));
    heard(&mut world.client);
    for n in 0..100 {
        assert_eq!(world.send(n, Priority::High), Ok(0));
    }
    world.send(100, Priority::High).expect_err("full");
    say(&mut world.client, "metrics_request", &json!({}));
    let messages = heard(&mut world.client);
    let metrics = read(messages.iter().find(|message| message.kind() == "metrics_response").expect("answered"));
    let queue = &metrics["queue_stats"];
    assert_eq!((&queue["capacity"], &queue["priorities"]["8"]["refused"]), (&json!(100), &json!(1)));
}

#[tokio::test]
async fn messages_that_wait_together_share_frames_for_who_reads_batches() {
    for (features, frames) in [(json!({ "batching": true }), 3), (json!({}), 25)] {
        let mut world = World::new(Config::default(), &features).await;
        for n in 0..25 {
            world.send(n, Priority::Normal).expect("room");
        }
        let messages = heard(&mut world.client);
        assert_eq!(messages.len(), frames, "{features}");
        let numbers: Vec<Value> = match frames {
            25 => messages.iter().map(|message| read(message)["n"].clone()).collect(),
            _ => messages
                .iter()
                .flat_map(|message| read(message)["messages"].as_array().expect("a batch").clone())
                .map(|message| message["p"]["n"].clone())
                .collect(),
        };
        assert_eq!(numbers, (0..25).map(Value::from).collect::<Vec<_>>(), "{features}");
    }
}

#[tokio::test]
async fn a_message_that_is_held_goes_when_its_time_has_come() {
    let config = Config { batch_timeout: std::time::Duration::from_millis(40), ..Config::default() };
    let mut world = World::new(config, &json!({ "batching": true })).await;
    world.send(0, Priority::Normal).expect("room");
    assert_eq!(heard(&mut world.client).len(), 1);
    world.send(1, Priority::Normal).expect("room");
    world.send(2, Priority::Normal).expect("room");
    let started = std::time::Instant::now();
    let batch = loop {
        if let Some(message) = heard(&mut world.client).pop() {
            break message;
        }
        world.client.ready().await;
    };
    assert_eq!(read(&batch)["count"], 2);
    assert!(started.elapsed() >= std::time::Duration::from_millis(20), "{:?}", started.elapsed());
}
