//! A bare WebSocket echo over the server's own connections, for conformance tests (`cargo xtask autobahn`).
//!
//! Prints its address, then serves until it is ended.

use wse_server::{Config, Server, StartError};

/// The largest message that the tests send.
const LARGEST: usize = 16 << 20;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "whoever starts it reads the address")]
async fn main() -> Result<(), StartError> {
    let config = Config { port: 0, max_message_size: LARGEST, max_queue_bytes: 4 * LARGEST, ..Config::default() };
    let server = Server::builder(config).echo().bind().await?;
    println!("ws://{}/wse", server.local_addr());
    server.serve().await
}
