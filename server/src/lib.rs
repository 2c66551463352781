//! Real-time messaging server: WebSocket connections, topics and an HTTP API on one port.
//!
//! What a message means is decided by [`wse_client_core::server::Peer`]; this crate moves bytes, knows who
//! listens to what, and asks for tokens. The binary `wse-server` is this library with flags.
//!
//! ```no_run
//! use wse_server::{Config, Server, StartError};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), StartError> {
//!     let server = Server::builder(Config::default()).bind().await?;
//!     println!("listening on ws://{}/wse", server.local_addr());
//!     server.serve().await
//! }
//! ```
//!
//! ```text
//! server.rs     bind, serve, publish, shut down
//! drain.rs      send clients away before a shutdown
//! listen/       accept, HTTP, the upgrade to a WebSocket
//! connection/   one connection: Peer, topics and application; its drivers
//! memory.rs     what is refused when memory is short
//! hub/          topics, patterns, rings of publications, subscribers
//! history/      what was published, for those who come later
//! presence.rs   who is in a topic
//! settings/     the same settings by name: flags, environment, files
//! bus/          how publications travel between instances
//! auth/         tokens, origins, API key
//! api/          the HTTP API, console, static files
//! metrics/      what is counted, and how Prometheus is told
//! ```

#![forbid(unsafe_code)]

mod api;
mod auth;
mod bus;
mod clock;
mod config;
mod connection;
mod counters;
mod drain;
mod handler;
mod history;
mod hub;
mod listen;
mod memory;
mod metrics;
mod presence;
mod server;
pub mod settings;
mod sync;

pub use auth::{TokenClaims, TokenError, TokenKey, make_token};
pub use config::{Config, SHORT_API_KEY};
pub use connection::{Attached, Carried};
pub use counters::Stats;
pub use handler::{ConnectionHandle, Handler, PublishToUserTopic, SendRefused};
pub use history::{HistoryMessage, HistoryPage, HistoryQuery, MAX_HISTORY_PAGE};
pub use listen::CertificateError;
pub use presence::{MAX_PRESENCE_PAGE, PresencePage, PresenceQuery};
pub use server::{PublishError, Published, Server, ServerBuilder, StartError};
pub use wse_client_core::{
    client::Outgoing,
    client::PresenceChange,
    config::ConfigError,
    delivery::Position,
    error::Code,
    io::{Close, Frame},
    security::Secret,
    server::Identity,
    topic::Acl,
    wire::{Compression, Message, Payload},
};

/// Version of the server, announced in `server_hello` and in `GET /wse/health`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
