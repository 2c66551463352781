//! The benchmarks.

use anyhow::Result;

use crate::{
    args::Args,
    lint, npm, python, setup,
    sh::{cargo, command, run as sh_run, target},
};

/// `cargo xtask bench [OPTIONS]`: release builds of everything that is measured, then the benchmark itself.
///
/// Options go to the benchmark. It prints its tables and writes `target/bench/results.json`.
pub(crate) fn run(args: Args) -> Result<()> {
    setup::check_tools()?;
    sh_run(cargo("build").args(["--release", "--workspace", "--bins"]).args(lint::NOT_NATIVE))?;
    npm::package()?;
    let wheel = python::wheel(python::Profile::Release, &target().join("bench/wheels"))?;
    let python = python::with_wheel("venv-bench", &python::base()?, &wheel, &[])?;
    let mut bench = command(target().join("release/wse-bench"), "");
    bench.args(args.into_rest()).env("WSE_SERVER_BIN", target().join("release/wse-server"));
    sh_run(bench.env("WSE_BENCH_PYTHON", python).env("WSE_CHROMIUM", setup::browser()?))
}
