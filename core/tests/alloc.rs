//! What a frame asks of the heap: nothing on its way to an event, if it is plain and its members have no escapes.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::Bytes;
use wse_client_core::{
    client::{Action, Client, Event, Input, Output},
    config::ClientConfig,
    io::{Frame, SocketId},
    rng::Seed,
    time::{Moment, WallTime},
    wire::{Compression, Encoding, Head, Limits, Payload, decode, encode},
};

/// The system's heap, which counts what this thread takes from it.
struct Counting;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

fn note() {
    TAKEN.with(|taken| taken.set(taken.get() + 1));
}

// SAFETY: every call goes to the system's heap with its arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// How often `work` asks the heap for memory.
fn allocations<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = TAKEN.get();
    let result = work();
    (TAKEN.get() - before, result)
}

/// A publication with every member that a server writes, as plain text of 200 bytes.
fn publication(number: u32) -> Frame {
    let frame = Frame::Text(
        format!(
            concat!(
                r#"U{{"t":"chat","p":{{"text":"how do you do all","n":1.5,"list":[1,2,3]}},"id":"01a20ac0-9103-7c43-8a31-{:012}","#,
                r#""seq":{:04},"ts":"2026-02-20T15:30:00.000Z","tp":"room:7","e":"0000abcd","o":{:04},"v":1}}"#
            ),
            number,
            1000 + number,
            1000 + number,
        )
        .into(),
    );
    assert_eq!(frame.len(), 200);
    shared(frame)
}

/// As a driver hands it over: shared already, so that slices of it are only counted.
fn shared(frame: Frame) -> Frame {
    let bytes = frame.bytes().clone();
    match frame {
        Frame::Text(_) => Frame::Text(bytes),
        Frame::Binary(_) => Frame::Binary(bytes),
    }
}

/// The publication in another encoding.
fn publication_as(encoding: Encoding) -> Frame {
    let message = decode(&publication(0), &Limits::default(), None).expect("readable");
    shared(encode(&message.head(), message.payload(), encoding, None))
}

#[test]
fn a_plain_frame_is_decoded_without_the_heap() {
    for encoding in [Encoding::Text, Encoding::Binary, Encoding::Msgpack] {
        let frame = publication_as(encoding);
        assert_eq!(frame.len() == 200, encoding != Encoding::Msgpack);
        let (count, message) = allocations(|| decode(&frame, &Limits::default(), None).expect("readable"));
        assert_eq!(count, 0, "{encoding:?}");
        assert_eq!(message.topic(), Some("room:7"));
        let (count, copy) = allocations(|| message.clone());
        assert_eq!(count, 0, "a copy of a message copies no bytes");
        drop((message, copy));
    }
}

/// The whole way through a client: the event holds the message itself, and there is nothing beside it.
#[test]
fn a_publication_becomes_an_event_without_the_heap() {
    const WARM_UP: u32 = 300;
    let (mut client, socket) = connected();
    let mut told = 0;
    for number in 0..WARM_UP + 100 {
        let frame = publication(number);
        let (count, _) = allocations(|| {
            client.handle(Input::Frame(socket, frame), NOW);
            while let Some(event) = next_event(&mut client) {
                told += u32::from(matches!(event, Event::Message(message) if message.topic() == Some("room:7")));
            }
        });
        // What windows and queues take once they have for good.
        assert!(count == 0 || number < WARM_UP, "{count} for message {number}");
    }
    assert_eq!(told, WARM_UP + 100);
}

const NOW: Moment = Moment::from_millis(1000);

/// A client of a server that is ready, with a window that is soon full.
fn connected() -> (Client, SocketId) {
    let mut config = ClientConfig::new("ws://server/wse");
    config.topics = vec!["room:7".into()];
    config.delivery.dedup_window = 100;
    let mut client = Client::new(config, Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("settings");
    client.connect(NOW);
    let socket = loop {
        match client.poll() {
            Output::Act(Action::Open { socket, .. }) => break socket,
            Output::Wait(_) => panic!("a client that connects opens a socket"),
            _ => {}
        }
    };
    client.handle(Input::Opened(socket), NOW);
    client.handle(Input::Frame(socket, Frame::Text(Bytes::from_static(br#"WSE{"t":"server_ready","p":{}}"#))), NOW);
    while next_event(&mut client).is_some() {}
    (client, socket)
}

/// The next event; what the driver is to do is left undone.
fn next_event(client: &mut Client) -> Option<Event> {
    loop {
        match client.poll() {
            Output::Emit(event) => return Some(event),
            Output::Wait(_) => return None,
            Output::Act(_) => {}
        }
    }
}

/// The first slice of bytes that nobody shares yet makes the counter that they share; that is all.
#[test]
fn bytes_fresh_from_a_driver_cost_their_counter() {
    let bytes = publication_as(Encoding::Binary).bytes().to_vec();
    let frame = Frame::Binary(Bytes::from(bytes));
    let (count, message) = allocations(|| decode(&frame, &Limits::default(), None).expect("readable"));
    assert_eq!(count, 1);
    drop(message);
}

#[test]
fn encoding_takes_one_buffer() {
    let payload = Payload::from_json(r#"{"text":"hello","n":1}"#).expect("JSON");
    let head = Head { kind: "chat", id: Some("m-1"), topic: Some("room:7"), sequence: Some(1), ..Head::default() };
    for encoding in [Encoding::Text, Encoding::Binary] {
        let (count, frame) = allocations(|| encode(&head, &payload, encoding, Some(&Compression::default())));
        // The buffer, and the cut to its length or the counter of its shares.
        assert!(count <= 2, "{count} for {encoding:?}");
        drop(frame);
    }
}

/// The counter counts: text with escapes must be copied.
#[test]
fn escapes_in_members_are_what_costs() {
    let frame = Frame::Text(Bytes::from_static(br#"U{"t":"x","p":{},"id":"a\nb"}"#));
    let (count, message) = allocations(|| decode(&frame, &Limits::default(), None).expect("readable"));
    assert!(count > 0);
    assert_eq!(message.id(), Some("a\nb"));
}
