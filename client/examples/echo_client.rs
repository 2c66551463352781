//! Plays the cases of a fuzzing server over the client's own sockets, for conformance tests (`cargo xtask autobahn`).
//!
//! Argument: the fuzzing server's address, like `ws://127.0.0.1:9001`.

use wse_client::{echo, first_message};

/// Under this name the reports list it.
const AGENT: &str = "wse-client";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let server = std::env::args().nth(1).ok_or("the address of the fuzzing server is needed")?;
    let count = first_message(&format!("{server}/getCaseCount")).await?;
    let count: u32 = count.and_then(|count| count.parse().ok()).ok_or("no number of cases came")?;
    for case in 1..=count {
        echo(&format!("{server}/runCase?case={case}&agent={AGENT}")).await?;
    }
    echo(&format!("{server}/updateReports?agent={AGENT}")).await
}
