//! Starts the application.
//!
//! ```text
//! make npm                                                   # once, for the page
//! cargo run -p wse-example-axum -- --user alice=wonderland   # then http://127.0.0.1:8080
//! ```

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use wse_example_axum::{App, Chat, Users};
use wse_server::{Config, Server};

/// A small chat: a page, REST and live messages on one port
#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Someone who may come in, and the key to do so; may be given several times
    #[arg(long = "user", value_name = "NAME=KEY", required = true, value_parser = user)]
    users: Vec<(String, String)>,
    /// Folder of the built npm package
    #[arg(long, default_value = "ts-wrapper/dist")]
    sdk: PathBuf,
}

fn user(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, key)) if !name.is_empty() && !key.is_empty() => Ok((name.to_owned(), key.to_owned())),
        _ => Err("write it as NAME=KEY".into()),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let args = Args::parse();
    let config =
        Config { max_connections_per_address: Some(100), drain_window: Duration::from_secs(2), ..Config::default() };
    let wse = Server::builder(config).async_handler(Chat).build()?;
    let app = App::new(wse.clone(), Users::new(args.users)).router(&args.sdk);
    let asked_to_stop = asked_to_stop()?;
    let listener = TcpListener::bind(args.listen).await?;
    eprintln!("http://{}", listener.local_addr()?);
    // The peer's address is what limits for one address look at.
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            asked_to_stop.await;
            // While the port still answers: every client is told when to come back.
            wse.drain().await;
        })
        .await?;
    Ok(())
}

/// Waits for Ctrl-C, or for the SIGTERM by which systemd and containers stop a program.
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
