//! The simulated world, and the proof that it sees something.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    args::Args,
    sh::{cargo, command, output_of, quiet, root, run as sh_run, target},
};

/// Worlds that a planted bug may survive before it counts as unseen.
const WORLDS: &str = "2000";

/// `cargo xtask sim [--planted] [OPTIONS]`: 10,000 worlds, or worlds with one planted bug after the other.
///
/// Options go to `wse-sim`.
pub(crate) fn run(mut args: Args) -> Result<()> {
    if args.flag("--planted") {
        let only = args.option::<String>("--only")?;
        args.finish()?;
        return planted(only.as_deref());
    }
    let options = args.into_rest();
    sh_run(cargo("run").args(["--quiet", "--profile", "sim", "--package", "wse-sim", "--"]).args(options))
}

/// What became of one planted bug.
struct Finding {
    name: String,
    /// The rule that it broke and the worlds until then, or why it was not seen.
    outcome: Result<(String, String)>,
}

/// Plants each bug of `tests/sim/planted` in a copy of the tree, and runs worlds until a rule is broken.
fn planted(only: Option<&str>) -> Result<()> {
    let tree = copy_of_the_tree()?;
    let mut patches: Vec<PathBuf> = fs::read_dir(root().join("tests/sim/planted"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .filter(|path| only.is_none_or(|only| path.to_string_lossy().contains(only)))
        .collect();
    patches.sort();
    ensure!(!patches.is_empty(), "there is no such patch in tests/sim/planted");
    let sound = worlds(&tree, "50").context("the copy without a planted bug does not run")?;
    ensure!(sound.contains("are sound"), "the copy without a planted bug is not sound:\n{sound}");
    let findings: Vec<Finding> = patches.iter().map(|patch| try_one(&tree, patch)).collect();
    println!("\n| bug | caught by | worlds |\n| --- | --- | --- |");
    for Finding { name, outcome } in &findings {
        match outcome {
            Ok((rule, worlds)) => println!("| {name} | {rule} | {worlds} |"),
            Err(error) => println!("| {name} | NOT SEEN: {error:#} | |"),
        }
    }
    let unseen = findings.iter().filter(|finding| finding.outcome.is_err()).count();
    ensure!(unseen == 0, "{unseen} of {} planted bugs were not seen", findings.len());
    Ok(())
}

fn try_one(tree: &Path, patch: &Path) -> Finding {
    let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let outcome = apply(tree, patch, false).and_then(|()| {
        let said = worlds(tree, WORLDS);
        apply(tree, patch, true)?;
        caught(&said?)
    });
    match &outcome {
        Ok((rule, worlds)) => println!("{name}: caught by {rule} after {worlds} worlds"),
        Err(error) => println!("{name}: {error:#}"),
    }
    Finding { name, outcome }
}

/// Reads from what `wse-sim` printed which rule was broken, and after how many worlds.
fn caught(said: &str) -> Result<(String, String)> {
    let between = |before: &str, after: &str| {
        let rest = said.lines().rev().find_map(|line| line.starts_with("world ").then(|| line.split_once(before)))??.1;
        rest.split(after).next().map(str::to_owned)
    };
    let Some(rule) = between(" breaks ", " at ").map(|rule| rule.split(':').next().unwrap_or_default().to_owned())
    else {
        bail!("{WORLDS} worlds, and nothing was noticed");
    };
    let worlds = said.lines().rev().find_map(|line| line.strip_suffix(" worlds until then")).unwrap_or("?");
    Ok((rule, worlds.to_owned()))
}

/// Builds and runs worlds in the copy, and gives what they printed. A broken rule is no error here.
fn worlds(tree: &Path, count: &str) -> Result<String> {
    let build = target().join("planted/build");
    let mut cargo = in_tree(tree, std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "--quiet", "--profile", "sim", "--package", "wse-sim"]);
    quiet(cargo.env("CARGO_TARGET_DIR", &build))?;
    let mut sim = in_tree(tree, build.join("sim/wse-sim").into());
    output_of(sim.args(["--worlds", count]))
}

fn apply(tree: &Path, patch: &Path, reverse: bool) -> Result<()> {
    let mut git = in_tree(tree, "git".into());
    git.args(["apply", "-C1"]).args(reverse.then_some("--reverse")).arg(patch);
    // The copy lies inside a repository, and is none of its own: paths count from the copy.
    quiet(git.env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree))).context("the patch does not apply")
}

fn in_tree(tree: &Path, program: OsString) -> Command {
    let mut command = command(program, "");
    command.current_dir(tree);
    command
}

/// Copies every file of the tree that is not ignored.
fn copy_of_the_tree() -> Result<PathBuf> {
    let tree = target().join("planted/tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let files = output_of(command("git", "").args(["ls-files", "-co", "--exclude-standard"]))?;
    for file in files.lines() {
        let (from, to) = (root().join(file), tree.join(file));
        if let Some(folder) = to.parent().filter(|_| from.is_file()) {
            fs::create_dir_all(folder)?;
            fs::copy(&from, &to).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    Ok(tree)
}
