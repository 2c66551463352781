//! Messages that wait live in a store of the application's choice, and outlive the client there.

use std::sync::{Arc, Mutex};

use wse_client_core::{
    client::{Action, Client, DropReason, Event, Input, Outgoing, Output},
    config::ClientConfig,
    delivery::{MemoryStore, OfflineStore, Waiting},
    io::{Frame, SocketId},
    rng::Seed,
    time::{Moment, WallTime},
    wire::{self, Limits, Payload, Priority},
};

const NOW: Moment = Moment::from_millis(5_000_000);

/// What is in the store, for the test to see.
type Keys = Arc<Mutex<Vec<u64>>>;

#[derive(Default)]
struct Watched {
    inner: MemoryStore<Outgoing>,
    keys: Keys,
}

impl OfflineStore for Watched {
    type Message = Outgoing;

    fn put(&mut self, key: u64, waiting: Waiting<Outgoing>) {
        self.keys.lock().expect("one thread").push(key);
        self.inner.put(key, waiting);
    }

    fn get(&self, key: u64) -> Option<&Waiting<Outgoing>> {
        self.inner.get(key)
    }

    fn take(&mut self, key: u64) -> Option<Waiting<Outgoing>> {
        self.keys.lock().expect("one thread").retain(|kept| *kept != key);
        self.inner.take(key)
    }

    fn left_behind(&self) -> Vec<(u64, &Waiting<Outgoing>)> {
        self.inner.left_behind()
    }
}

fn left(id: &str, since: u64) -> Waiting<Outgoing> {
    let message = Outgoing::new("order", Payload::EMPTY);
    Waiting { id: id.into(), priority: Priority::Normal, size: 10, since: Moment::from_millis(since), message }
}

/// What was taken is sent, dropped or waits, at any moment.
fn assert_balanced(client: &Client, accepted: u64) {
    let metrics = client.metrics(NOW);
    assert_eq!(metrics.messages_accepted, accepted);
    assert_eq!(accepted, metrics.messages_sent + metrics.messages_dropped + metrics.messages_queued, "{metrics:?}");
}

/// Ids of the application's messages that were written, and of those that were dropped.
fn drain(client: &mut Client) -> (Vec<String>, Vec<(String, DropReason)>) {
    let (mut sent, mut dropped) = (Vec::new(), Vec::new());
    loop {
        match client.poll() {
            Output::Act(Action::Send { frame, .. }) => {
                let message = wire::decode(&frame, &Limits::default(), None).expect("our own frame");
                if message.kind() == "order" {
                    sent.push(message.id().expect("has an id").to_owned());
                }
            }
            Output::Emit(Event::Dropped { id, reason, .. }) => dropped.push((id, reason)),
            Output::Act(_) | Output::Emit(_) => {}
            Output::Wait(_) => return (sent, dropped),
        }
    }
}

#[test]
fn what_an_earlier_run_left_is_sent_once_within_the_bounds() {
    let mut config = ClientConfig::new("ws://a");
    config.offline.max_size = 3;
    let mut store = Watched::default();
    let keys = store.keys.clone();
    let hour_ago = NOW.as_millis() - 60 * 60 * 1000;
    for (key, (id, since)) in
        [("old", hour_ago), ("a", hour_ago + 1), ("b", NOW.as_millis()), ("c", NOW.as_millis())].into_iter().enumerate()
    {
        store.put(key as u64, left(id, since));
    }
    let mut client =
        Client::with_store(config, Box::new(store), Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("config");
    // Three fit; of the same priority the oldest makes room.
    assert_eq!(drain(&mut client), (vec![], vec![("old".into(), DropReason::QueueFull)]));
    assert_eq!(client.metrics(NOW).queue.waiting, 3);
    assert_balanced(&client, 4);
    client.connect(NOW);
    let later = Moment::from_millis(NOW.as_millis() + 1);
    client.handle(Input::Opened(SocketId(1)), later);
    assert_eq!(drain(&mut client).1, [("a".into(), DropReason::Expired)]);
    assert_eq!(*keys.lock().expect("one thread"), [2, 3]);
    assert_balanced(&client, 4);
    let ready = Frame::Text(r#"WSE{"t":"server_ready","p":{}}"#.into());
    client.handle(Input::Frame(SocketId(1), ready), later);
    assert_eq!(drain(&mut client), (vec!["b".into(), "c".into()], vec![]));
    assert!(keys.lock().expect("one thread").is_empty(), "what was sent is not kept");
    assert_balanced(&client, 4);
}

#[test]
fn what_waits_is_in_the_store_and_stays_when_the_client_is_dropped() {
    let store = Watched::default();
    let keys = store.keys.clone();
    let config = ClientConfig::new("ws://a");
    let mut client =
        Client::with_store(config, Box::new(store), Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("config");
    client.connect(NOW);
    client.send(Outgoing::new("order", Payload::EMPTY), NOW).expect("kept");
    drop(client);
    assert_eq!(keys.lock().expect("one thread").len(), 1);
}
