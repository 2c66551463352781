//! The benchmarks.

use anyhow::Result;

use crate::{
    args::Args,
    lint, npm, python, setup,
    sh::{cargo, command, root, run as sh_run, target},
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
    bench.arg("--python").arg(python).arg("--npm-package").arg(root().join(npm::PACKAGE));
    bench.arg("--out").arg(target().join("bench/results.json")).args(args.into_rest());
    sh_run(bench.env("WSE_CHROMIUM", setup::browser()?))
}
