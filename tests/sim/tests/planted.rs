//! That the planted bugs still fit the code. Whether they are seen is for `make sim ARGS=--planted`, which takes long.

use std::{fs, path::Path, process::Command};

#[test]
fn every_planted_bug_applies() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).expect("tests/sim lies in the workspace");
    let entries = fs::read_dir(here.join("planted")).expect("tests/sim/planted can be read");
    let mut patches: Vec<_> = entries.map(|entry| entry.expect("an entry of tests/sim/planted").path()).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    assert!(!patches.is_empty(), "there is no patch in tests/sim/planted");
    let faults: Vec<String> = patches.iter().filter_map(|patch| fault(root, patch)).collect();
    assert!(
        faults.is_empty(),
        "{} of {} planted bugs do not apply:\n{}",
        faults.len(),
        patches.len(),
        faults.join("\n")
    );
}

/// Why a patch does not apply to the workspace, by the rules of `make sim ARGS=--planted`.
fn fault(root: &Path, patch: &Path) -> Option<String> {
    let checked = Command::new("git")
        .args(["apply", "--check", "-C1"])
        .arg(patch)
        .current_dir(root)
        // Sources without a repository may lie inside another one: paths count from the workspace.
        .env("GIT_CEILING_DIRECTORIES", root.parent().unwrap_or(root))
        .output()
        .unwrap_or_else(|error| panic!("the planted bugs cannot be checked, because git does not run: {error}"));
    (!checked.status.success()).then(|| format!("{}: {}", patch.display(), String::from_utf8_lossy(&checked.stderr)))
}
