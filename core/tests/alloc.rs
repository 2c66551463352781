//! What decoding asks of the heap: nothing, for a plain frame whose members have no escapes.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::Bytes;
use wse_client_core::{
    io::Frame,
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

/// A message of a topic with every member, about 200 bytes long.
fn frame(encoding: Encoding, text: &str) -> Frame {
    let payload = Payload::new(&serde_json::json!({ "text": text, "n": 1.5, "list": [1, 2, 3] })).expect("JSON");
    let head = Head {
        kind: "chat",
        id: Some("01a20ac0-9103-7c43-8a31-8ef03146392a"),
        sequence: Some(42),
        timestamp: Some("2026-02-20T15:30:00.000Z"),
        topic: Some("room:7"),
        epoch: Some("0000abcd"),
        offset: Some(1234),
        ..Head::default()
    };
    let frame = encode(&head, &payload, encoding, None);
    // As a driver hands it over: shared already, so that slices of it are only counted.
    let shared = frame.bytes().clone();
    match frame {
        Frame::Text(_) => Frame::Text(shared),
        Frame::Binary(_) => Frame::Binary(shared),
    }
}

#[test]
fn a_plain_frame_is_decoded_without_the_heap() {
    for encoding in [Encoding::Text, Encoding::Binary, Encoding::Msgpack] {
        let frame = frame(encoding, "hello there, how are you");
        assert!((150..=260).contains(&frame.len()), "{} bytes", frame.len());
        let (count, message) = allocations(|| decode(&frame, &Limits::default(), None).expect("readable"));
        assert_eq!(count, 0, "{encoding:?}");
        assert_eq!(message.topic(), Some("room:7"));
        let (count, copy) = allocations(|| message.clone());
        assert_eq!(count, 0, "a copy of a message copies no bytes");
        drop((message, copy));
    }
}

/// The first slice of bytes that nobody shares yet makes the counter that they share; that is all.
#[test]
fn bytes_fresh_from_a_driver_cost_their_counter() {
    let bytes = frame(Encoding::Binary, "hello there, how are you").bytes().to_vec();
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
