//! The binary `wse-server`: flags, environment, signals; the rest is the library.

#![forbid(unsafe_code)]

mod cli;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use wse_server::Server;

use cli::{Arguments, Command};

/// How long a shutdown waits for clients.
const SHUTDOWN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may be filtered; the reason of a failed start never is.
            eprintln!("wse-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the token is the output of this command")]
fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Some(Command::Token(flags)) => {
            println!("{}", flags.sign()?);
            Ok(())
        }
        None => {
            cli::start_log(&arguments.server.log)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(serve(arguments.server))
        }
    }
}

async fn serve(flags: cli::ServerFlags) -> anyhow::Result<()> {
    let server = Server::builder(flags.into_config()).bind().await?;
    announce(&server);
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve().await }
    });
    wait_for_signal().await?;
    tracing::info!("shutting down");
    let cut = server.shutdown(SHUTDOWN).await;
    if cut > 0 {
        tracing::warn!(cut, "connections did not finish in time");
    }
    serving.await??;
    tracing::info!("stopped");
    Ok(())
}

fn announce(server: &Server) {
    let address = server.local_addr();
    let auth = if server.is_open() { "open" } else { "jwt" };
    tracing::info!(
        websocket = %format_args!("ws://{address}/wse"),
        console = %format_args!("http://{address}/console"),
        auth,
        "wse-server {} is listening",
        wse_server::VERSION
    );
    if server.config().api_key.as_ref().is_some_and(|key| key.expose().len() < wse_server::SHORT_API_KEY) {
        tracing::warn!("the API key is short and can be guessed: make one with `openssl rand -hex 16`");
    }
    if server.is_open() {
        if server.is_on_loopback() {
            tracing::info!(
                "open mode: every program on this machine may read and write all topics; \
                 set WSE_JWT_SECRET (32 bytes or more) to ask for tokens, `wse-server token --help` makes them"
            );
        } else {
            tracing::warn!("open mode on a public address: everyone who reaches it may read and write all topics");
        }
        tracing::info!(
            "try it: curl \
             -d '{{\"topic\":\"news\",\"type\":\"hello\",\"payload\":{{\"n\":1}}}}' http://{address}/wse/publish"
        );
    } else {
        tracing::info!(
            "clients need a token: wse-server token --sub alice --ttl 3600 (with the same secret, or --key)"
        );
    }
}

async fn wait_for_signal() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
