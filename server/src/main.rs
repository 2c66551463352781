//! The binary `wse-server`: flags, environment, signals; the rest is the library.

#![forbid(unsafe_code)]

mod cli;
mod files;
mod log;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use wse_server::{Config, Server, settings::Effective};

use cli::Task;

/// Exit code: clients did not finish in time, and were cut. A second signal ends with 128 and its number.
const CUT: u8 = 3;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()).and_then(run) {
        Ok(code) => code,
        Err(error) => {
            // Logging may be filtered; the reason of a failed start never is.
            eprintln!("wse-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the token is the output of this command")]
fn run(task: Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Token(flags) => {
            println!("{}", flags.sign()?);
            Ok(ExitCode::SUCCESS)
        }
        Task::CheckConfig(effective) => runtime()?.block_on(check_config(*effective)),
        Task::Serve(settings) => {
            log::start(&settings.log, settings.log_format)?;
            runtime()?.block_on(serve(settings.server))
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Everything that a start does, without taking the port.
async fn check_config(effective: Effective) -> anyhow::Result<ExitCode> {
    match write!(io::stdout(), "{effective}") {
        // Whoever reads has seen enough, like `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    log::check(&effective.settings.log)?;
    Server::builder(effective.settings.server).check().await?;
    eprintln!("these settings can be used");
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    files::raise_limit(config.max_connections.saturating_add(config.max_handshakes));
    let server = Server::builder(config).bind().await?;
    // Before anybody can know that the server runs, or a signal that comes at once would kill it.
    let mut signals = Signals::new()?;
    announce(&server);
    tokio::spawn(reload_on_hangup(server.clone(), signal(SignalKind::hangup())?));
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve().await }
    });
    signals.next().await;
    tracing::info!("draining; a second signal stops at once");
    let (cut, impatient) = tokio::select! {
        cut = server.drain() => (cut, None),
        number = signals.next() => (server.shutdown(Duration::ZERO).await, Some(number)),
    };
    if cut > 0 {
        tracing::warn!(cut, "connections did not finish in time");
    }
    serving.await??;
    tracing::info!("stopped");
    Ok(match impatient {
        Some(number) => ExitCode::from(128 + number),
        None if cut > 0 => ExitCode::from(CUT),
        None => ExitCode::SUCCESS,
    })
}

/// SIGHUP: reads again what can change while the server runs.
async fn reload_on_hangup(server: Server, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        // What went wrong is in the log; the server goes on with what it had.
        let _ = (server.reload_certificate(), server.reload_token_keys());
    }
}

/// The signals that end the program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

fn announce(server: &Server) {
    let address = server.local_addr();
    let auth = if server.is_open() { "open" } else { "jwt" };
    let s = if server.config().tls_certificate.is_some() { "s" } else { "" };
    tracing::info!(
        websocket = %format_args!("ws{s}://{address}/wse"),
        console = server.has_console().then(|| tracing::field::display(format!("http{s}://{address}/console"))),
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
        let key = match server.config().api_key {
            Some(_) => Some("-H \"X-API-Key: $WSE_API_KEY\" "),
            // Nobody may publish over HTTP where others can reach an open server without a key.
            None => server.is_on_loopback().then_some(""),
        };
        if let Some(key) = key {
            tracing::info!(
                "try it: curl {key}\
                 -d '{{\"topic\":\"news\",\"type\":\"hello\",\"payload\":{{\"n\":1}}}}' http{s}://{address}/wse/publish"
            );
        }
    } else {
        tracing::info!(
            "clients need a token: wse-server token --sub alice --ttl 3600 (with the same secret, or --key)"
        );
    }
}
