//! The real server under load, restarts and attacks.

use std::path::Path;

use anyhow::Result;

use crate::{
    args::Args,
    setup,
    sh::{cargo, command, root, run as sh_run, target},
};

/// `cargo xtask reliability [--long] [NAME…]`: builds server and scenarios, and runs them.
///
/// The long forms are measured with a release build, and draw into docs/.
pub(crate) fn run(args: Args) -> Result<()> {
    setup::check_tools()?;
    let mut options = args.into_rest();
    let long = options.iter().any(|option| option == "--long");
    let (profile, folder) = if long { ("release", "release") } else { ("dev", "debug") };
    let packages = ["--package", "wse-server", "--package", "wse-reliability"];
    sh_run(cargo("build").args(["--profile", profile]).args(packages))?;
    if long {
        options.extend(["--plots".to_owned(), root().join("docs").display().to_string()]);
    }
    let folder = target().join(folder);
    play(&folder, &options)
}

/// Runs scenarios that are built already, in their short form, with this server.
pub(crate) fn short(server: &Path) -> Result<()> {
    server.parent().map_or(Ok(()), |folder| play(folder, &[]))
}

fn play(folder: &Path, options: &[String]) -> Result<()> {
    sh_run(command(folder.join("wse-reliability"), "").args(options).env("WSE_SERVER_BIN", folder.join("wse-server")))
}
