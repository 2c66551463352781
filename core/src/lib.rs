//! The engine of the WSE protocol: every rule of the wire, and nothing else.
//!
//! This crate does no I/O, reads no clock and starts no threads. A *driver* owns the socket and the
//! clock; the engine owns every decision. Both ends live here: [`client::Client`] and
//! [`server::Peer`], so a test can tie one to the other and turn a single clock.
//!
//! # The run loop of a driver
//!
//! ```
//! use std::time::Duration;
//! use wse_client_core::{
//!     client::{Action, Client, Input, Output},
//!     config::ClientConfig,
//!     rng::Seed,
//!     time::{Moment, WallTime},
//! };
//!
//! let config = ClientConfig::new("ws://127.0.0.1:5006/wse");
//! let start = Moment::ORIGIN;
//! let mut client = Client::new(config, Seed::from_u64(7), start, WallTime::from_unix_ms(0))?;
//! client.connect(start);
//! loop {
//!     match client.poll() {
//!         Output::Act(Action::Open { socket, .. }) => {
//!             // A real driver dials here, and reports back what happened.
//!             client.handle(Input::Opened(socket), start + Duration::from_millis(3));
//!         }
//!         Output::Act(_) | Output::Emit(_) => {}
//!         Output::Wait(_deadline) => break, // sleep until input arrives or the deadline passes
//!     }
//! }
//! # Ok::<(), wse_client_core::config::ConfigError>(())
//! ```

#![forbid(unsafe_code)]

mod channel;
pub mod client;
pub mod config;
pub mod delivery;
pub mod error;
pub mod io;
pub mod record;
pub mod resilience;
pub mod rng;
mod rotation;
pub mod security;
pub mod server;
pub mod settings;
mod signed;
pub mod time;
pub mod topic;
pub mod wire;

/// Version of this crate, announced in `client_hello` and `server_hello`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Protocol version spoken by this crate. Source: PROTOCOL.md §1.
pub const PROTOCOL_VERSION: u64 = 1;
