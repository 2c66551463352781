//! The part for bindings: a foreign thread that polls, is woken, and finds every request completed in one queue.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    sync::mpsc,
    time::{Duration, Instant},
};

use support::Server;
use wse_client::{Client, ConnectionState, Event, Outgoing, Payload, RequestId};

const COUNT: usize = 2000;

/// The loop of a binding as the documentation gives it. Panics when a wake-up is missed.
fn drain_until(client: &Client, woken: &mpsc::Receiver<()>, mut done: impl FnMut(Event) -> bool) {
    let mut events = Vec::new();
    loop {
        while client.try_drain(100, &mut events) > 0 {
            for event in events.drain(..) {
                if done(event) {
                    return;
                }
            }
        }
        if client.arm() {
            woken.recv_timeout(Duration::from_secs(10)).expect("armed, so a wake-up comes");
        } else if client.is_ended() {
            assert!(done(Event::Latency(Duration::MAX)), "the stream ended too early");
            return;
        }
    }
}

#[test]
fn a_foreign_thread_gets_everything_through_one_queue() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let client = Client::builder(&server.url).event_buffer(64).start_on(runtime.handle()).unwrap();
    let (wake, woken) = mpsc::channel();
    client.set_waker(Some(Box::new(move || wake.send(()).unwrap_or_default())));

    drain_until(&client, &woken, |event| matches!(event, Event::Connected(_)));
    let mut pending: BTreeSet<RequestId> =
        (0..20).map(|number| client.request_subscribe(&[format!("t{number}")]).unwrap()).collect();
    drain_until(&client, &woken, |event| {
        if let Event::Subscribed(outcome) = event {
            assert!(outcome.confirmed);
            pending.remove(&outcome.request);
        }
        pending.is_empty()
    });

    let sender = client.clone();
    let sending = std::thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(20);
        for number in 0..COUNT {
            let payload = Payload::new(&number).unwrap();
            while let Err(error) = sender.try_send(Outgoing::new("n", payload.clone()).to_topic("t7")) {
                assert!(error.is_retryable() && Instant::now() < deadline, "{error}");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let mut next = 0;
    drain_until(&client, &woken, |event| {
        if let Event::Message(message) = event {
            assert_eq!(message.payload().parse::<usize>().unwrap(), next);
            next += 1;
        }
        next == COUNT
    });
    sending.join().unwrap();

    client.request_close();
    let mut closed = false;
    drain_until(&client, &woken, |event| {
        closed |= matches!(event, Event::StateChanged { to: ConnectionState::Closed, .. });
        closed && client.is_ended()
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while !client.is_finished() {
        assert!(Instant::now() < deadline, "the driver ends after a close");
        std::thread::sleep(Duration::from_millis(5));
    }
}
