//! The demo: a server, a live feed of this machine, and a page that shows it.

use std::{
    fs,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    args::Args,
    npm, python, setup,
    sh::{Running, command, root, target},
    test,
};

const DEFAULT_PORT: u16 = 5006;

/// `cargo xtask demo [--port N] [--seconds N]`. Port 0 takes any free one; without `--seconds` it runs until Ctrl-C.
pub(crate) fn run(mut args: Args) -> Result<()> {
    let port = args.option::<u16>("--port")?.unwrap_or(DEFAULT_PORT);
    let seconds = args.option::<u64>("--seconds")?;
    args.finish()?;
    // Before the build, so that nobody waits minutes for this answer.
    free_port(port)?;
    setup::check_tools()?;

    println!("[1/4] npm package and console page: WebAssembly and TypeScript (the first build takes a few minutes)");
    npm::package()?;
    npm::console()?;
    println!("[2/4] server, feed and shell client");
    let server = test::programs()?;
    println!("[3/4] demo page");
    let page = npm::demo()?;
    println!("[4/4] Python package");
    let python = python::with_wheel("venv-demo", &python::base()?, &python::dev_wheel()?, &[])?;

    let port = free_port(port)?;
    let mut programs = start(&server, &page, port)?;
    announce(port, &python);
    let started = Instant::now();
    while seconds.is_none_or(|seconds| started.elapsed() < Duration::from_secs(seconds)) {
        for (name, program) in &mut programs {
            if let Some(status) = program.ended()? {
                bail!("{name} ended ({status}); its last lines are above");
            }
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Gives the port if nothing listens on it; for port 0, one that is free.
fn free_port(port: u16) -> Result<u16> {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(listener) => Ok(listener.local_addr()?.port()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "port {port} is taken, perhaps by another demo: stop that program, or choose another port with \
             `make demo ARGS=\"--port {}\"`",
            port.checked_add(1).unwrap_or(DEFAULT_PORT)
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on port {port}")),
    }
}

fn start(server: &Path, page: &Path, port: u16) -> Result<[(&'static str, Running); 2]> {
    let mut serve = command(server, "");
    serve.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--static"]).arg(page);
    let mut serving = Running::start(&mut serve)?;
    let asked = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = serving.ended()? {
            bail!("wse-server ended at once ({status})");
        }
        if asked.elapsed() > Duration::from_secs(10) {
            bail!("wse-server does not listen on port {port} after 10 seconds");
        }
        thread::sleep(Duration::from_millis(50));
    }
    let feed = Running::start(&mut feeder(port))?;
    // Ended in this order: the feed does not see its server go away.
    Ok([("wse-feed", feed), ("wse-server", serving)])
}

fn feeder(port: u16) -> Command {
    let mut feed = command(target().join("debug/wse-feed"), "");
    feed.args(["--url", &format!("ws://127.0.0.1:{port}/wse")]);
    feed
}

fn announce(port: u16, python: &Path) {
    let here = format!("{}/", root().display());
    let python = python.display().to_string().replace(&here, "");
    let url = if port == DEFAULT_PORT { String::new() } else { format!(" ws://127.0.0.1:{port}/wse") };
    let rust_url = if url.is_empty() { String::new() } else { format!(" --{url}") };
    println!(
        "\nThe demo runs. Open   http://127.0.0.1:{port}/\n\nThe same feed in other languages, each in a shell of its own in this folder:\n  \
         Python   {python} examples/python/feed.py{url}\n  \
         Rust     cargo run -q -p wse-example-rust{rust_url}\n  \
         shell    {wse} sub ws://127.0.0.1:{port}/wse 'host:*'\n\nCtrl-C stops everything.",
        wse = target().join("debug/wse").display().to_string().replace(&here, ""),
    );
}

/// Deletes what the demo built for the browser and for Python. Cargo's own files stay.
pub(crate) fn clean() -> Result<()> {
    for folder in ["ts-wrapper/dist", "ts-wrapper/wasm", "examples/demo/dist"] {
        match fs::remove_dir_all(root().join(folder)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {folder}"));
            }
            _ => {}
        }
    }
    npm::remove_console()?;
    python::clean_demo()
}
