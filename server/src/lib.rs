//! Real-time messaging server: WebSocket connections, topics and an HTTP API on one port.
//!
//! What a message means is decided by [`wse_client_core::server::Peer`]; this crate moves bytes, knows who
//! listens to what, and asks for tokens. The binary `wse-server` is this library with flags.
//!
//! A port of its own, an application behind it, and publications from anywhere in the program:
//!
//! ```no_run
//! use wse_server::{AsyncHandler, Config, ConnectionHandle, Message, Outgoing, Payload, Refusal, Server};
//!
//! struct App;
//!
//! impl AsyncHandler for App {
//!     type Error = Refusal;
//!
//!     async fn on_message(&self, connection: &ConnectionHandle, message: Message) -> Result<(), Refusal> {
//!         connection.send(Outgoing::new("echo", message.payload().clone()))?;
//!         Ok(())
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let server = Server::builder(Config::default()).async_handler(App).bind().await?;
//!     tokio::spawn({ let server = server.clone(); async move { server.serve().await } });
//!     server.publish("news", Outgoing::new("headline", Payload::new(&"it works")?))?;
//!     tokio::signal::ctrl_c().await?;
//!     server.drain().await; // every client is told when to come back
//!     Ok(())
//! }
//! ```
//!
//! On the port of an application that is written with axum, or with anything else on hyper; `examples/axum` is a whole one:
//!
//! ```no_run
//! use std::net::SocketAddr;
//! use axum::{extract::{ConnectInfo, Request, State}, response::IntoResponse, routing::any};
//! use wse_server::{Config, Server};
//!
//! async fn wse(State(server): State<Server>, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request) -> impl IntoResponse {
//!     server.upgrade(request, peer) // or a Caller whom your own session knows
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config { jwt_secret: Some(std::env::var("JWT_SECRET")?.into()), ..Config::default() };
//! let server = Server::builder(config).build()?;
//! let app = axum::Router::new().route("/wse", any(wse)).with_state(server);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Other HTTP servers: [`Server::handshake`] takes a request head and any socket, [`Server::attach`] whole messages. The code:
//!
//! ```text
//! server.rs     bind, serve, publish, shut down
//! drain.rs      send clients away before a shutdown
//! handler.rs    the application behind it; async_handler.rs: one that takes its time
//! listen/       accept, HTTP, the upgrade to a WebSocket, also for HTTP servers of others
//! connection/   one connection: Peer, topics and application; its drivers
//! memory.rs     what is refused when memory is short
//! hub/          topics, patterns, rings of publications, subscribers
//! history/      what was published, for those who come later
//! presence.rs   who is in a topic
//! snapshots.rs  the state of topics, as the application knows it
//! settings/     the same settings by name: flags, environment, files
//! bus/          how publications travel between instances
//! auth/         tokens, origins, API key
//! api/          the HTTP API, console, static files
//! metrics/      what is counted, and how Prometheus is told
//! ```

#![forbid(unsafe_code)]

mod api;
mod async_handler;
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
mod snapshots;
mod sync;

pub use api::HttpApi;
pub use async_handler::{AsyncHandler, Refusal};
pub use auth::{TokenClaims, TokenError, TokenKey, make_token};
pub use config::{Config, SHORT_API_KEY};
pub use connection::{Attached, Carried};
pub use counters::Stats;
pub use handler::{ConnectionHandle, Handler, PublishToUserTopic, Queued, SendRefused};
pub use history::{HistoryMessage, HistoryPage, HistoryQuery, MAX_HISTORY_PAGE};
pub use listen::{Caller, CertificateError, Handshake, UpgradeRefused};
pub use presence::{MAX_PRESENCE_PAGE, PresencePage, PresenceQuery};
pub use server::{PublishError, Published, Server, ServerBuilder, StartError};
pub use snapshots::{SnapshotFuture, SnapshotProvider, SnapshotResult};
pub use wse_client_core::{
    client::Outgoing,
    client::PresenceChange,
    config::ConfigError,
    delivery::Position,
    error::Code,
    io::{Close, Frame},
    security::{Secret, Verification, tokens::Claims, tokens::Purpose},
    server::Identity,
    topic::Acl,
    wire::{Compression, Message, Payload},
};

/// Version of the server, announced in `server_hello` and in `GET /wse/health`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
