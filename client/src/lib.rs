//! The native client of the WSE protocol, on tokio: one logical connection that stays up, as a stream of events.
//!
//! ```no_run
//! use wse_client::Client;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::builder("ws://127.0.0.1:5006/wse").topics(["news:*"]).connect().await?;
//! client.publish("news:today", "headline", &serde_json::json!({ "text": "hello" })).await?;
//! while let Some(event) = client.next().await {
//!     if let Some(message) = event.message() {
//!         println!("{} {}", message.kind(), message.payload().to_json());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it does for you
//!
//! - It comes back: after any loss the client dials again with jittered pauses and asks for its topics again. The
//!   state always changes and the stream always wakes; see [`Event::StateChanged`] and [`Event::Disconnected`].
//! - It loses nothing on the way to you: when you are slow, the queue of events fills
//!   ([`Builder::event_buffer`]), the client stops reading its socket, and the server feels it. Heartbeats and your
//!   commands go on meanwhile.
//! - It is cancellation-safe: dropping any future of this crate loses no event and stops nothing.
//! - Dropping the last clone of a [`Client`] closes the connection in the background; [`Client::close`] waits for it.
//!
//! Every rule of the protocol lives in [`wse_client_core`]; this crate owns sockets, TLS and timers. For bindings to
//! other languages, which cannot await, see [`Client::try_drain`], [`Client::arm`] and the `request_…` methods.

#![forbid(unsafe_code)]

mod builder;
mod client;
mod dial;
mod driver;
#[cfg(feature = "echo")]
mod echo;
mod error;
mod queue;
mod shared;
mod socket;
mod tls;
mod token;

pub use builder::Builder;
pub use client::Client;
#[cfg(feature = "echo")]
pub use echo::{echo, first_message};
pub use error::{ConnectError, PresenceError, SendError, SubscribeError};

pub use wse_client_core;
pub use wse_client_core::{
    client::{
        ConnectionState, Diagnostics, Disconnect, DropReason, Event, Metrics, NetworkHint, Notice, NoticeKind,
        Outgoing, PresenceChange, PresenceReport, RecoveryOutcome, Request, RequestError, RequestId, RequestOutcome,
        ServerError, ServerInfo, SubscribeOptions, SubscriptionAction, SubscriptionOutcome,
    },
    config::{ClientConfig, ConfigError, OfflineConfig, RecordConfig},
    delivery::{BatchConfig, LostRange, RateLimit},
    error::{Code, close},
    io::Close,
    resilience::{BackoffStrategy, BalanceStrategy, PoolConfig},
    security::{RotateError, Secret, SigningConfig, SigningForm, Verification},
    wire::{Category, Compression, DecodeError, Encoding, Limits, Message, Payload, PayloadError, Priority},
};
