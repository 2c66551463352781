//! The benchmarks.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{
    args::Args,
    lint, npm, python, setup,
    sh::{cargo, command, root, run as sh_run, target},
};

/// `cargo xtask bench [OPTIONS]`: release builds of everything that is measured, then the benchmark itself.
///
/// `--only core` measures the core alone and `--only servers` compares servers; both build no more than they need.
/// Options go to the benchmark. It prints its tables and writes `target/bench/results.json`.
pub(crate) fn run(args: Args) -> Result<()> {
    let args = args.into_rest();
    let only = |part| args.windows(2).any(|pair| pair == ["--only", part]);
    if only("core") || only("servers") {
        sh_run(cargo("build").args(["--release", "-p", "wse-bench", "--bins"]))?;
        let mut bench = if only("core") { bench() } else { plain_bench() };
        if only("servers") {
            add_published(&mut bench);
        }
        return sh_run(bench.args(args));
    }
    setup::check_tools()?;
    sh_run(cargo("build").args(["--release", "--workspace", "--bins"]).args(lint::NOT_NATIVE))?;
    npm::package()?;
    let wheel = python::wheel(python::Profile::Release, &target().join("bench/wheels"))?;
    let python = python::with_wheel("venv-bench", &python::base()?, &wheel, &[])?;
    let mut bench = bench();
    add_published(&mut bench);
    bench.arg("--python").arg(python).arg("--npm-package").arg(root().join(npm::PACKAGE)).args(args);
    sh_run(bench.env("WSE_CHROMIUM", setup::browser()?))
}

/// The benchmark, with what counts instructions. Times are worth having without that, so a machine that cannot have
/// valgrind is told and goes on.
fn bench() -> Command {
    let mut bench = plain_bench();
    match setup::valgrind() {
        Ok(()) => {
            bench.arg("--cost").arg(target().join("release/wse-bench-cost"));
        }
        Err(error) => println!("bench: NO INSTRUCTIONS WILL BE COUNTED: {error:#}"),
    }
    bench
}

fn plain_bench() -> Command {
    let mut bench = command(target().join("release/wse-bench"), "");
    bench.arg("--out").arg(target().join("bench/results.json"));
    bench
}

/// What the server is compared with, in an environment of its own. Its wheel wants Python 3.12 or later; a machine
/// that has none, or cannot fetch it, is told, and the other comparisons are made.
fn add_published(bench: &mut Command) {
    const PUBLISHED: &str = "wse-server==2.5.1";
    let python = python::find("3.13").or_else(|| python::find("3.12"));
    let python = python.context("needs Python 3.12 or 3.13");
    match python.and_then(|python| python::environment("venv-published", &python, &[PUBLISHED])) {
        Ok(inside) => drop(bench.arg("--published").arg(inside)),
        Err(error) => println!("bench: NOTHING WILL BE COMPARED WITH {PUBLISHED}: {error:#}"),
    }
}
