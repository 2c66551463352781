//! End-to-end tests: the real server program, and clients in Rust, Python, Node and Chromium at once.
//!
//! `cargo xtask e2e` builds what takes part and starts this program. With `--only PART` it runs the tests whose name
//! contains PART. It prints a line per test and a last line with the counts, and fails when a test failed.
#![expect(clippy::print_stdout, reason = "a test runner talks through its standard output")]

mod delivery;
mod foreign;
mod native;
mod place;
mod player;
mod proxy;
mod runner;
mod shim;
mod trouble;

use std::process::ExitCode;

use anyhow::{Result, bail};

use place::Place;
use runner::Runner;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let only = match arguments.as_slice() {
        [] => None,
        [option, part] if option == "--only" => Some(part.clone()),
        _ => bail!("usage: wse-e2e [--only PART]"),
    };
    let place = Place::from_env()?;
    let mut runner = Runner::new(only);
    delivery::tests(&place, &mut runner).await;
    trouble::tests(&place, &mut runner).await;
    foreign::tests(&place, &mut runner).await;
    Ok(runner.finish())
}
