//! Installs what is missing, and nothing else. One line per thing that was done.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    npm, python,
    sh::{answer, command, on_path, quiet},
};

/// Everything that building and testing needs.
pub(crate) fn everything() -> Result<()> {
    wasm_target()?;
    python::tools()?;
    node()?;
    npm::install(npm::PACKAGE)?;
    npm::install(npm::DEMO)?;
    browser()?;
    println!("setup: everything is there");
    Ok(())
}

/// The Rust standard library for the browser.
pub(crate) fn wasm_target() -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let installed = answer(command("rustup", "").args(["target", "list", "--installed"]))
        .context("`rustup target list` failed: is rustup installed and on the PATH?")?;
    if installed.lines().any(|line| line == TARGET) {
        return Ok(());
    }
    println!("setup: Rust target {TARGET}");
    quiet(command("rustup", "").args(["target", "add", TARGET]))
}

/// Nightly Rust and cargo-fuzz.
pub(crate) fn fuzzer() -> Result<()> {
    let installed =
        answer(command("rustup", "").args(["toolchain", "list"])).context("`rustup toolchain list` failed")?;
    if !installed.lines().any(|line| line.starts_with("nightly")) {
        println!("setup: nightly Rust");
        quiet(command("rustup", "").args(["toolchain", "install", "nightly", "--profile", "minimal"]))?;
    }
    if answer(command("cargo", "").args(["fuzz", "--version"])).is_none() {
        println!("setup: cargo-fuzz (a minute)");
        quiet(command("cargo", "").args(["install", "cargo-fuzz", "--locked"]))?;
    }
    Ok(())
}

/// Node.js 20 or newer, with npm.
pub(crate) fn node() -> Result<()> {
    let version = answer(command("node", "").arg("--version")).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().and_then(|number| number.parse::<u32>().ok());
    match major {
        Some(20..) if on_path("npm") => Ok(()),
        Some(20..) => bail!("node is installed but npm is not: install npm"),
        Some(_) => bail!("node {version} is too old: install Node.js 20 or newer"),
        None => bail!("node is not on the PATH: install Node.js 20 or newer"),
    }
}

/// A Chromium for the browser tests: `WSE_CHROMIUM`, or one on the `PATH`, or Debian's.
pub(crate) fn browser() -> Result<PathBuf> {
    if let Some(path) = env::var_os("WSE_CHROMIUM") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("WSE_CHROMIUM names {}, which is no file", path.display());
        }
        return Ok(path);
    }
    if let Some(path) = find_browser() {
        return Ok(path);
    }
    apt_install("chromium")?;
    find_browser().context("the package chromium was installed, but no chromium is on the PATH")
}

fn find_browser() -> Option<PathBuf> {
    const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = env::var_os("PATH")?;
    let mut candidates = NAMES.iter().flat_map(|name| env::split_paths(&path).map(move |dir| dir.join(name)));
    candidates.find(|candidate| candidate.is_file())
}

/// Installs a Debian package, as root or through sudo without a password.
pub(crate) fn apt_install(package: &str) -> Result<()> {
    let by_hand = format!("apt-get install --no-install-recommends {package}");
    if !on_path("apt-get") {
        bail!("{package} is missing and there is no apt-get here: install it with your system's package manager");
    }
    let root = answer(command("id", "").arg("-u")).as_deref() == Some("0");
    if !root && answer(command("sudo", "").args(["-n", "true"])).is_none() {
        bail!("{package} is missing and only root may install it: run `sudo {by_hand}`, then try again");
    }
    println!("setup: Debian package {package}");
    let apt = |arguments: &[&str]| {
        let mut apt = if root { command("apt-get", "") } else { command("sudo", "") };
        if !root {
            apt.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        quiet(&mut apt)
    };
    let install = ["install", "-y", "-q", "--no-install-recommends", package];
    // The package lists of a fresh machine are empty or old.
    apt(&install)
        .or_else(|_| apt(&["update", "-q"]).and_then(|()| apt(&install)))
        .with_context(|| format!("run `{by_hand}` by hand to see why"))
}

/// Whether `stamp` says that an installation from `source` is complete and still right.
pub(crate) fn is_done(stamp: &Path, source: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|text| text == source)
}

/// Notes that an installation from `source` is complete.
pub(crate) fn set_done(stamp: &Path, source: &str) -> Result<()> {
    fs::write(stamp, source).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Refuses to begin without what cannot be installed from here: Node.js, Python, rustup.
pub(crate) fn check_tools() -> Result<()> {
    node()?;
    python::base().map(|_| ())?;
    if !on_path("rustup") {
        bail!("rustup is not on the PATH: this project takes its Rust version from rust-toolchain.toml");
    }
    Ok(())
}
