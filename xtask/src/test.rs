//! Every test of every language, in one go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    args::Args,
    autobahn, e2e, lint, npm, python, reliability,
    report::Report,
    setup,
    sh::{cargo, run as sh_run, target},
};

const PARTS: [&str; 7] = ["lint", "rust", "autobahn", "reliability", "web", "python", "e2e"];

/// `cargo xtask test [--only PART]`.
pub(crate) fn run(mut args: Args) -> Result<()> {
    let only = args.option::<String>("--only")?;
    args.finish()?;
    if let Some(part) = only.as_deref().filter(|part| !PARTS.contains(part)) {
        bail!("--only {part}: no such part, there are {}", PARTS.join(", "));
    }
    let wants = |part: &str| only.as_deref().is_none_or(|only| only == part);
    setup::check_tools()?;

    let mut report = Report::default();
    if wants("lint") {
        report.step("rust format", lint::rust_format);
        report.step("rust lints", lint::clippy);
    }
    // Before anything native, as the server has the console page in it.
    let package = if wants("web") || wants("e2e") { report.step("build npm package", npm::package) } else { None };
    if package.is_some() {
        report.step("build console page", npm::console);
    }
    if wants("rust") {
        report.step("rust tests", rust_tests);
    }
    if wants("autobahn") {
        conformance(&mut report);
    }
    let server = if ["reliability", "web", "python", "e2e"].into_iter().any(wants) {
        report.step("build programs", programs)
    } else {
        None
    };
    if wants("reliability") {
        match server.as_deref() {
            Some(server) => drop(report.step("reliability", || reliability::short(server))),
            None => report.blocked("reliability", "build programs"),
        }
    }
    if wants("web") {
        web(&mut report, package.is_some(), server.as_deref());
    }
    let wheel = if wants("python") || wants("e2e") { report.step("build wheel", python::dev_wheel) } else { None };
    if wants("python") {
        pytest(&mut report, wheel.as_deref(), server.as_deref());
    }
    if wants("e2e") {
        end_to_end(&mut report, package.is_some(), wheel.as_deref(), server.as_deref());
    }
    report.finish()
}

/// One selection of packages and features of core for every native build here: another selection turns on other features of shared
/// dependencies, and cargo would build those again.
fn rust_tests() -> Result<()> {
    sh_run(cargo("test").arg("--workspace").args(lint::NOT_NATIVE).args(lint::TESTED_FEATURES))
}

fn conformance(report: &mut Report) {
    match python::find(autobahn::PYTHON) {
        Some(python) => {
            report.step("autobahn", || autobahn::check(&python, None));
        }
        None => report.absent("autobahn", "no Python 2.7 on this machine"),
    }
}

/// Builds every program that the other steps start, and gives the server's path.
pub(crate) fn programs() -> Result<PathBuf> {
    sh_run(cargo("build").args(["--workspace", "--bins"]).args(lint::NOT_NATIVE).args(lint::TESTED_FEATURES))?;
    let server = target().join("debug/wse-server");
    server.is_file().then_some(server).context("cargo build made no target/debug/wse-server")
}

fn web(report: &mut Report, package: bool, server: Option<&Path>) {
    if !package {
        report.blocked("web tests", "build npm package");
        return;
    }
    report.step("typescript types", npm::types);
    let Some(server) = server else {
        report.blocked("vitest, chromium", "build programs");
        return;
    };
    report.step("vitest", || sh_run(npm::script(npm::PACKAGE, "test").env("WSE_SERVER_BIN", server)));
    report.step("demo page", npm::demo);
    report.step("chromium", || npm::browser_tests(server));
    report.step("npm packaging", || npm::packaging_tests(server));
}

fn pytest(report: &mut Report, wheel: Option<&Path>, server: Option<&Path>) {
    let (Some(wheel), Some(server)) = (wheel, server) else {
        report.blocked("pytest", "build wheel or build programs");
        return;
    };
    report.step("python types", || python::types(wheel));
    for version in python::VERSIONS {
        let name = format!("pytest on Python {version}");
        match python::find(version) {
            Some(python) => {
                report.step(&name, || python::pytest(version, &python, wheel, server));
            }
            None => report.absent(&name, "no such interpreter on this machine"),
        }
    }
}

fn end_to_end(report: &mut Report, package: bool, wheel: Option<&Path>, server: Option<&Path>) {
    let (true, Some(wheel), Some(server)) = (package, wheel, server) else {
        report.blocked("end to end", "build npm package, build wheel or build programs");
        return;
    };
    report.step("end to end", || e2e::tests(server, wheel, &[]));
}
