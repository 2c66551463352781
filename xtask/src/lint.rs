//! Format and lints.

use anyhow::Result;

use crate::{
    npm,
    sh::{cargo, run},
};

/// Crates that no native test builds: the browser driver is linted for its own target, and the Python
/// extension needs an interpreter's library to link a test, so its tests are run by pytest.
pub(crate) const NOT_NATIVE: [&str; 4] = ["--exclude", "wse-wasm", "--exclude", "wse-client-py"];

/// Code that no program here turns on, and that is tested all the same. In every native build, because core with other
/// features is another core, and all that stands on it would be built twice.
pub(crate) const TESTED_FEATURES: [&str; 2] = ["--features", "wse-client-core/fernet,wse-server/axum"];

/// Formats every file.
pub(crate) fn format() -> Result<()> {
    run(cargo("fmt").arg("--all"))
}

/// Checks format and lints of every crate, the drawn docs, and the types of the TypeScript.
pub(crate) fn check() -> Result<()> {
    rust_format()?;
    clippy()?;
    crate::lifecycle::check()?;
    npm::types()
}

/// Checks the format of the Rust code.
pub(crate) fn rust_format() -> Result<()> {
    run(cargo("fmt").args(["--all", "--check"]))
}

/// clippy over every crate, warnings refused, for the machine and for the browser.
pub(crate) fn clippy() -> Result<()> {
    crate::setup::wasm_target()?;
    let refuse = ["--", "-D", "warnings"];
    let native = ["--workspace", "--all-targets", "--exclude", "wse-wasm"];
    run(cargo("clippy").args(native).args(TESTED_FEATURES).args(refuse))?;
    run(cargo("clippy").args(["-p", "wse-wasm", "--target", "wasm32-unknown-unknown"]).args(refuse))
}
