//! Browser driver of the WSE client: `web-sys` sockets and timers under [`wse_client_core::client::Client`].
//!
//! The public face is TypeScript (`ts-wrapper/`); nothing else should call this crate. It works wherever
//! `WebSocket`, `setTimeout`, `performance` and `crypto` are globals: pages, workers, Node with a WebSocket.

mod client;
mod config;
mod convert;
mod driver;
mod error;
mod global;
mod socket;

pub use client::WasmClient;
