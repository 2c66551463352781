//! The benchmarks.

use std::process::Command;

use anyhow::Result;

use crate::{
    args::Args,
    lint, npm, python, setup,
    sh::{cargo, command, root, run as sh_run, target},
};

/// `cargo xtask bench [OPTIONS]`: release builds of everything that is measured, then the benchmark itself.
///
/// `--only core` measures the core alone and builds no more than that needs. Options go to the benchmark. It prints
/// its tables and writes `target/bench/results.json`.
pub(crate) fn run(args: Args) -> Result<()> {
    let args = args.into_rest();
    if args.windows(2).any(|pair| pair == ["--only", "core"]) {
        sh_run(cargo("build").args(["--release", "-p", "wse-bench", "--bins"]))?;
        return sh_run(bench().args(args));
    }
    setup::check_tools()?;
    sh_run(cargo("build").args(["--release", "--workspace", "--bins"]).args(lint::NOT_NATIVE))?;
    npm::package()?;
    let wheel = python::wheel(python::Profile::Release, &target().join("bench/wheels"))?;
    let python = python::with_wheel("venv-bench", &python::base()?, &wheel, &[])?;
    let mut bench = bench();
    bench.arg("--python").arg(python).arg("--npm-package").arg(root().join(npm::PACKAGE)).args(args);
    sh_run(bench.env("WSE_CHROMIUM", setup::browser()?))
}

/// The benchmark, with what counts instructions. Times are worth having without that, so a machine that cannot have
/// valgrind is told and goes on.
fn bench() -> Command {
    let release = target().join("release");
    let mut bench = command(release.join("wse-bench"), "");
    bench.arg("--out").arg(target().join("bench/results.json"));
    match setup::valgrind() {
        Ok(()) => {
            bench.arg("--cost").arg(release.join("wse-bench-cost"));
        }
        Err(error) => println!("bench: NO INSTRUCTIONS WILL BE COUNTED: {error:#}"),
    }
    bench
}
