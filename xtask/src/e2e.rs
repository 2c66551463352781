//! The end-to-end tests: prepares every client, then starts the runner `wse-e2e`.

use std::path::Path;

use anyhow::Result;

use crate::{
    args::Args,
    npm, python, setup,
    sh::{command, run as sh_run, target},
    test,
};

/// Published packages of the same protocol, as foreign peers.
const FOREIGN_CLIENT: &str = "wse-client[crypto,msgpack]==2.5.1";
const FOREIGN_CLIENT_1: &str = "wse-client==1.3.9";
const FOREIGN_SERVER: &str = "wse-server==2.5.1";
/// Versions of Python that have wheels of the foreign server.
const FOREIGN_SERVER_PYTHONS: [&str; 2] = ["3.12", "3.13"];

/// `cargo xtask e2e [--only PART]`: builds what the tests need, then runs them.
pub(crate) fn run(args: Args) -> Result<()> {
    setup::check_tools()?;
    let server = test::programs()?;
    npm::package()?;
    let wheel = python::dev_wheel()?;
    tests(&server, &wheel, &args.into_rest())
}

/// Runs the tests with a server, a wheel and the npm package that are built already.
pub(crate) fn tests(server: &Path, wheel: &Path, options: &[String]) -> Result<()> {
    let base = python::base()?;
    let ours = python::with_wheel("venv-e2e", &base, wheel, &[])?;
    let foreign_client = python::environment("venv-foreign-client", &base, &[FOREIGN_CLIENT])?;
    let foreign_client_1 = python::environment("venv-foreign-client-1", &base, &[FOREIGN_CLIENT_1])?;
    let mut runner = command(target().join("debug/wse-e2e"), "");
    runner
        .args(options)
        .env("WSE_SERVER_BIN", server)
        .env("WSE_E2E_PYTHON", ours)
        .env("WSE_E2E_FOREIGN_CLIENT", foreign_client)
        .env("WSE_E2E_FOREIGN_CLIENT_1", foreign_client_1)
        .env("WSE_CHROMIUM", setup::browser()?);
    // Without such an interpreter the runner says in the tests' names that they did not run.
    if let Some(python) = FOREIGN_SERVER_PYTHONS.iter().find_map(|version| python::find(version)) {
        runner.env("WSE_E2E_FOREIGN_SERVER", python::environment("venv-foreign-server", &python, &[FOREIGN_SERVER])?);
    }
    npm::install(npm::PACKAGE)?;
    sh_run(&mut runner)
}
