//! One native client that keeps books.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use wse_client::{Client, ConnectionState, Disconnect, Event, Outgoing, Payload, SendError};

use crate::ledger::Book;

/// Type of the messages that are counted.
const KIND: &str = "counted";

/// Time since this program started: stamps of messages and of what happened.
pub(crate) fn age() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[derive(Serialize, Deserialize)]
struct Stamp {
    /// The publisher.
    by: u32,
    /// Its number.
    n: u64,
    /// When, in microseconds of [`age`].
    at: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pad: String,
}

/// What happened to a member.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    pub(crate) books: BTreeMap<String, Book>,
    /// When it was connected.
    pub(crate) ups: Vec<Duration>,
    /// When and why it was not, or an attempt failed.
    pub(crate) downs: Vec<(Duration, Disconnect)>,
    /// From publisher to here, in milliseconds.
    pub(crate) delays: Vec<f32>,
    /// Frames and requests that were refused, messages that were dropped: none is expected of a well-behaved client.
    pub(crate) odd: Vec<String>,
}

/// A client, and the task that reads its events.
pub(crate) struct Member {
    pub(crate) name: u32,
    pub(crate) client: Client,
    diary: Arc<Mutex<Diary>>,
    /// From here on it takes messages as fast as it can, whatever its manner.
    hurries: Arc<AtomicBool>,
    reading: JoinHandle<()>,
    sent: u64,
}

/// What is special about a member.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Time that it takes for each message.
    pub(crate) pause: Duration,
    /// Events that it lets wait before it stops reading its socket; 0: the default of the client.
    pub(crate) buffer: usize,
}

impl Member {
    /// Connects and subscribes.
    pub(crate) async fn join(url: &str, name: u32, topics: &[&str], manner: Manner) -> Result<Self> {
        let mut builder = Client::builder(url).topics(topics.iter().copied()).compression(None);
        if manner.buffer > 0 {
            builder = builder.event_buffer(manner.buffer);
        }
        let client = builder.connect().await.with_context(|| format!("member {name}"))?;
        let diary = Arc::new(Mutex::new(Diary::default()));
        let hurries = Arc::new(AtomicBool::new(manner.pause.is_zero()));
        let reading = tokio::spawn(read(client.clone(), Arc::clone(&diary), manner.pause, Arc::clone(&hurries)));
        Ok(Self { name, client, diary, hurries, reading, sent: 0 })
    }

    /// Publishes the next number, as far as the client takes it.
    pub(crate) fn publish(&mut self, topic: &str, pad: usize) -> Result<(), SendError> {
        let stamp = Stamp { by: self.name, n: self.sent, at: micros(), pad: "x".repeat(pad) };
        let text = serde_json::to_string(&stamp).unwrap_or_default();
        let Ok(payload) = Payload::from_json(text) else { return Ok(()) };
        self.client.try_send(Outgoing::new(KIND, payload).to_topic(topic))?;
        self.sent += 1;
        Ok(())
    }

    /// Takes what waits as fast as it can from here on.
    pub(crate) fn hurry(&self) {
        self.hurries.store(true, Ordering::Relaxed);
    }

    /// Numbers that were sent.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.state() == ConnectionState::Connected
    }

    /// What happened so far.
    pub(crate) fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes and ends the reading.
    pub(crate) async fn leave(self) {
        self.client.close().await;
        let _ = tokio::time::timeout(Duration::from_secs(5), self.reading).await;
    }
}

fn micros() -> u64 {
    u64::try_from(age().as_micros()).unwrap_or(u64::MAX)
}

async fn read(mut client: Client, diary: Arc<Mutex<Diary>>, pause: Duration, hurries: Arc<AtomicBool>) {
    loop {
        let hurries = hurries.load(Ordering::Relaxed);
        // A slow member takes one at a time, so that the rest waits at the server.
        let most = if hurries { 64 } else { 1 };
        let events = client.next_batch(most).await;
        if events.is_empty() {
            return;
        }
        {
            let mut diary = diary.lock().unwrap_or_else(PoisonError::into_inner);
            events.into_iter().for_each(|event| diary.note(event));
        }
        if !hurries {
            tokio::time::sleep(pause).await;
        }
    }
}

impl Diary {
    fn note(&mut self, event: Event) {
        match event {
            Event::Message(message) if message.kind() == KIND => {
                let text = message.payload().to_json();
                match serde_json::from_str::<Stamp>(&text) {
                    Ok(stamp) => {
                        self.delays.push(micros().saturating_sub(stamp.at) as f32 / 1000.0);
                        self.book(message.topic().unwrap_or_default()).receive(stamp.by, stamp.n);
                    }
                    Err(error) => self.odd.push(format!("a payload that nobody sent: {error}")),
                }
            }
            Event::Lost { topic, count, .. } => self.book(topic.as_deref().unwrap_or_default()).lost(count),
            Event::Connected(_) => self.ups.push(age()),
            Event::Disconnected(disconnect) => self.downs.push((age(), disconnect)),
            Event::ServerError(error) => self.odd.push(format!("{}: {}", error.code, error.message)),
            Event::Rejected(error) => self.odd.push(format!("refused: {error}")),
            Event::Dropped { reason, .. } => self.odd.push(format!("dropped: {}", reason.as_str())),
            _ => {}
        }
    }

    fn book(&mut self, topic: &str) -> &mut Book {
        if !self.books.contains_key(topic) {
            self.books.insert(topic.to_owned(), Book::default());
        }
        self.books.entry(topic.to_owned()).or_default()
    }
}
