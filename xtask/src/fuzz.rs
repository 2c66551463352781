//! The search for inputs that break something: libFuzzer on every target of `tests/fuzz`.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    args::Args,
    setup,
    sh::{command, root, run as sh_run, target},
};

const FOLDER: &str = "tests/fuzz/libfuzzer";

/// `cargo xtask fuzz [--target NAME] [--seconds N]`: each target for N seconds, 600 unless told.
///
/// New inputs go to `target/fuzz/corpus`, so the next run goes on from them; the committed ones are only read. An
/// input that breaks something lies in `target/fuzz/artifacts`, and its path is printed.
pub(crate) fn run(mut args: Args) -> Result<()> {
    let only = args.option::<String>("--target")?;
    let seconds = args.option::<u32>("--seconds")?.unwrap_or(600);
    args.finish()?;
    let names = targets()?;
    if let Some(name) = only.as_ref().filter(|name| !names.contains(name)) {
        bail!("--target {name}: no such target, there are {}", names.join(", "));
    }
    setup::fuzzer()?;
    for name in names.iter().filter(|name| only.as_ref().is_none_or(|only| only == *name)) {
        search(name, seconds)?;
    }
    Ok(())
}

/// The names of the targets: each has a folder in the corpus.
fn targets() -> Result<Vec<String>> {
    let corpus = root().join("tests/fuzz/corpus");
    let entries = fs::read_dir(&corpus).with_context(|| corpus.display().to_string())?;
    let mut names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into()).collect();
    names.sort();
    Ok(names)
}

fn search(name: &str, seconds: u32) -> Result<()> {
    println!("\n=== fuzz {name} for {seconds} s");
    let work = target().join("fuzz");
    let artifacts = folder(work.join("artifacts").join(name))?;
    let found = folder(work.join("corpus").join(name))?;
    let mut fuzz = command("cargo", FOLDER);
    fuzz.args(["+nightly", "fuzz", "run", "--fuzz-dir", "."]).arg("--target-dir").arg(work.join("build")).arg(name);
    fuzz.arg(&found).arg(root().join("tests/fuzz/corpus").join(name)).args(["--", "-print_final_stats=1"]);
    fuzz.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
    // The rustup that runs this recipe has named its own toolchain to what it starts.
    fuzz.args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=4096"]).env_remove("RUSTUP_TOOLCHAIN");
    sh_run(&mut fuzz).with_context(|| {
        format!("{name} broke; again with: cargo run -p wse-fuzz -- run {name} {}/<file>", artifacts.display())
    })
}

fn folder(path: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}
