//! The npm package, the console page and the demo page.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    setup, sh,
    sh::{command, root, run},
};

/// Folder of the npm package.
pub(crate) const PACKAGE: &str = "ts-wrapper";
/// Folder of the server's console page.
pub(crate) const CONSOLE: &str = "server/console";
/// Folder of the demo page.
pub(crate) const DEMO: &str = "examples/demo";

/// Installs a folder's npm packages as its lock file says, unless that was done already.
pub(crate) fn install(folder: &str) -> Result<()> {
    let lock = root().join(folder).join("package-lock.json");
    let stamp = root().join(folder).join("node_modules/.installed-from");
    let wanted = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    if setup::is_done(&stamp, &wanted) {
        return Ok(());
    }
    println!("setup: npm packages of {folder}");
    sh::quiet(command("npm", folder).args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))?;
    setup::set_done(&stamp, &wanted)
}

/// A script of a folder's `package.json`.
pub(crate) fn script(folder: &str, name: &str) -> std::process::Command {
    let mut npm = command("npm", folder);
    npm.args(["run", "--silent", name]);
    npm
}

/// The WebAssembly module, where the npm package takes it from.
pub(crate) fn wasm() -> Result<()> {
    setup::wasm_target()?;
    setup::node()?;
    // Brings wasm-opt.
    install(PACKAGE)?;
    crate::wasm::build()
}

/// The npm package in `ts-wrapper/dist`.
pub(crate) fn package() -> Result<()> {
    wasm()?;
    run(&mut script(PACKAGE, "build"))
}

/// The demo page in `examples/demo/dist`. Needs [`package`] first.
pub(crate) fn demo() -> Result<PathBuf> {
    install(DEMO)?;
    run(&mut script(DEMO, "build"))?;
    Ok(root().join(DEMO).join("dist"))
}

/// The console page in `server/console/dist`, from where the server's build takes it. Needs [`package`] first.
pub(crate) fn console() -> Result<()> {
    install(CONSOLE)?;
    remove_console()?;
    run(&mut script(CONSOLE, "build"))
}

/// Removes the built console page; the folder itself and the word about it are under version control.
pub(crate) fn remove_console() -> Result<()> {
    let folder = root().join(CONSOLE).join("dist");
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name != "README.md") {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Checks the TypeScript types of the package.
pub(crate) fn types() -> Result<()> {
    install(PACKAGE)?;
    run(&mut script(PACKAGE, "typecheck"))
}

/// The tests that drive a real Chromium against a real server.
pub(crate) fn browser_tests(server: &Path) -> Result<()> {
    let chromium = setup::browser()?;
    run(script(PACKAGE, "test:browser").env("WSE_SERVER_BIN", server).env("WSE_CHROMIUM", chromium))
}

/// The packed package, installed in empty projects: Node, server rendering, TypeScript, a Vite build in Chromium.
pub(crate) fn packaging_tests(server: &Path) -> Result<()> {
    let chromium = setup::browser()?;
    run(script(PACKAGE, "test:packaging").env("WSE_SERVER_BIN", server).env("WSE_CHROMIUM", chromium))
}
