//! What the end-to-end tests and other tests with the real server have in common.

pub mod server;
