//! What is shipped, in `dist/`.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    lint, npm, python, setup,
    sh::{cargo, command, quiet, root, run, target},
};

/// Programs that are shipped.
const PROGRAMS: [&str; 2] = ["wse-server", "wse"];

/// Release builds of the programs, the wheel and the npm package.
pub(crate) fn everything() -> Result<()> {
    setup::check_tools()?;
    npm()?;
    npm::console()?;
    programs()?;
    wheel()?;
    sizes()
}

fn folder() -> Result<PathBuf> {
    let dist = root().join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
    Ok(dist)
}

fn programs() -> Result<()> {
    let mut build = cargo("build");
    build.args(["--release", "--workspace", "--bins"]).args(lint::NOT_NATIVE);
    run(build.env("WSE_CONSOLE_REQUIRED", "1"))?;
    let dist = folder()?;
    for program in PROGRAMS {
        let (from, to) = (target().join("release").join(program), dist.join(program));
        // A running server keeps its file busy; removing the name first lets it go on.
        fs::remove_file(&to).ok();
        fs::copy(&from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// The Python wheel, release build.
pub(crate) fn wheel() -> Result<()> {
    python::wheel(python::Profile::Release, &folder()?).map(|_| ())
}

/// The npm package, packed.
pub(crate) fn npm() -> Result<()> {
    let dist = folder()?;
    npm::package()?;
    for old in files()?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "tgz")) {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    quiet(command("npm", npm::PACKAGE).args(["pack", "--ignore-scripts", "--silent", "--pack-destination"]).arg(dist))?;
    match files()?.iter().filter(|path| path.extension().is_some_and(|end| end == "tgz")).count() {
        1 => Ok(()),
        found => bail!("expected one packed npm package in dist/, found {found}"),
    }
}

fn files() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder()?)?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn sizes() -> Result<()> {
    println!();
    for file in files()? {
        let kilobytes = fs::metadata(&file)?.len().div_ceil(1024);
        println!("  {kilobytes:>7} KiB  dist/{}", file.file_name().unwrap_or_default().to_string_lossy());
    }
    Ok(())
}
