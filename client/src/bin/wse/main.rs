//! `wse`: watch topics, publish and measure, from a shell.
//!
//! Data goes to stdout, everything about the connection to stderr.

#![forbid(unsafe_code)]

mod args;
mod connect;
mod failure;
mod flight;
mod ping;
mod publish;
mod replay;
mod subscribe;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    if let Command::Pub(options) = &command
        && options.http
    {
        return publish::over_http(options);
    }
    if let Command::Replay(options) = &command {
        return replay::run(options);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let work = async {
            match command {
                Command::Sub(options) => subscribe::run(options).await,
                Command::Pub(options) => publish::over_websocket(options).await,
                Command::Ping(options) => ping::run(options).await,
                Command::Replay(options) => replay::run(&options),
            }
        };
        let stopped = tokio::select! {
            result = work => return result,
            stopped = tokio::signal::ctrl_c() => stopped,
        };
        // The client was dropped with its future: a moment for its goodbye.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(stopped?)
    })
}
