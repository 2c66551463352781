//! Build, test and release recipes. `make help` lists them; each target calls `cargo xtask <same name>`.
#![expect(clippy::print_stdout, reason = "a command-line tool talks through its standard output")]

mod args;
mod autobahn;
mod bench;
mod demo;
mod dist;
mod e2e;
mod fuzz;
mod lifecycle;
mod lint;
mod npm;
mod python;
mod reliability;
mod report;
mod setup;
mod sh;
mod sim;
mod test;
mod wasm;

use std::process::ExitCode;

use anyhow::{Result, bail};

use args::Args;

const USAGE: &str = "usage: cargo xtask COMMAND [OPTIONS]

  setup                          install what is missing: wasm target, Chromium, npm packages, Python tools
  demo [--port N] [--seconds N]  build everything, run server and feed, print the page's address
  clean-demo                     delete what the demo built for the browser and for Python
  fmt                            format the code
  lint                           check format and lints without changing a file
  test [--only PART]             every test of every language; parts: lint, rust, autobahn, web, python, e2e
  e2e [--only PART]              every client at once against the real server; --only takes part of a test's name
  autobahn [--cases PATTERNS]    WebSocket conformance of server and native client by the Autobahn test suite
  reliability [--long] [NAME…]   the real server under load, restarts and attacks; --long: the long forms, with plots
  sim [--planted] [OPTIONS]      10,000 simulated worlds; --planted: that each planted bug is caught
  fuzz [--target NAME] [--seconds N]  search for inputs that break something, 600 s a target
  bench [OPTIONS]                measure; options go to the benchmark, see `cargo xtask bench --help`
  lifecycle                      draw the client's lifecycle into docs/lifecycle.md
  wasm                           build the WebAssembly module for the browser
  console                        build the server's console page, which the next build of the server takes in
  wheel                          build the Python wheel into dist/
  npm                            build and pack the npm package into dist/
  dist                           release builds of everything that is shipped, in dist/
  check                          lint and test";

fn main() -> ExitCode {
    if let Err(error) = sh::clean_up_on_signals().and_then(|()| run()) {
        eprintln!("xtask: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run() -> Result<()> {
    let mut args = Args::from_env();
    let Some(command) = args.command() else { bail!("no command given\n\n{USAGE}") };
    match command.as_str() {
        "setup" => args.finish().and_then(|()| setup::everything()),
        "demo" => demo::run(args),
        "clean-demo" => args.finish().and_then(|()| demo::clean()),
        "fmt" => args.finish().and_then(|()| lint::format()),
        "lint" => args.finish().and_then(|()| lint::check()),
        "test" => test::run(args),
        "e2e" => e2e::run(args),
        "autobahn" => autobahn::run(args),
        "reliability" => reliability::run(args),
        "sim" => sim::run(args),
        "fuzz" => fuzz::run(args),
        "bench" => bench::run(args),
        "lifecycle" => args.finish().and_then(|()| lifecycle::draw()),
        "wasm" => args.finish().and_then(|()| npm::wasm()),
        "console" => args.finish().and_then(|()| npm::package()).and_then(|()| npm::console()),
        "wheel" => args.finish().and_then(|()| dist::wheel()),
        "npm" => args.finish().and_then(|()| dist::npm()),
        "dist" => args.finish().and_then(|()| dist::everything()),
        "check" => args.finish().and_then(|()| test::run(Args::empty())),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command {other:?}\n\n{USAGE}"),
    }
}
