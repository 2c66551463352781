//! Interpreters, virtual environments and the wheel.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    setup,
    sh::{answer, command, quiet, run, target},
};

/// Versions that the wheel supports.
pub(crate) const VERSIONS: [&str; 4] = ["3.10", "3.11", "3.12", "3.13"];
/// Folder of the Python package.
pub(crate) const PACKAGE: &str = "python/wse-client";

const MATURIN: &str = "maturin==1.16.0";
const PYTEST: [&str; 3] = ["pytest==8.4.2", "pytest-timeout==2.4.0", "uvloop==0.23.0"];

const TYPING: [&str; 3] = ["mypy==2.4.1", "typing_extensions==4.16.0", "pytest==8.4.2"];

/// The interpreter of a version (`"3.12"`), if the machine has a working one: on the `PATH`, or under `~/.pyenv/versions`.
pub(crate) fn find(version: &str) -> Option<PathBuf> {
    let on_path = PathBuf::from(format!("python{version}"));
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| env::home_dir().map(|home| home.join(".pyenv")));
    let installed = pyenv.and_then(|dir| fs::read_dir(dir.join("versions")).ok()).into_iter().flatten().flatten();
    let under_pyenv = installed
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{version}.")))
        .map(|entry| entry.path().join("bin/python"));
    std::iter::once(on_path)
        .chain(under_pyenv)
        .chain([PathBuf::from("python3")])
        .find(|python| version_of(python).as_deref() == Some(version))
}

/// The interpreter that builds the wheel: `python3`, or the first supported version found.
pub(crate) fn base() -> Result<PathBuf> {
    let python3 = PathBuf::from("python3");
    if version_of(&python3).is_some_and(|version| VERSIONS.contains(&version.as_str())) {
        return Ok(python3);
    }
    VERSIONS
        .iter()
        .find_map(|version| find(version))
        .context("no Python from 3.10 to 3.13 found: install one, for example the Debian package python3")
}

fn version_of(python: &Path) -> Option<String> {
    const PRINT: &str = "import sys; print('%d.%d' % sys.version_info[:2])";
    answer(command(python, "").args(["-c", PRINT]))
}

/// A virtual environment under the target folder, with these requirements in it.
///
/// It is made afresh when the interpreter or a requirement changes.
pub(crate) fn environment(name: &str, python: &Path, requirements: &[&str]) -> Result<PathBuf> {
    let folder = target().join(name);
    let inside = folder.join("bin/python");
    let wanted = format!("{}\n{}\n", python.display(), requirements.join("\n"));
    let stamp = folder.join(".made-from");
    if setup::is_done(&stamp, &wanted) && version_of(&inside).is_some() {
        return Ok(inside);
    }
    if answer(command(python, "").args(["-c", "import ensurepip"])).is_none() {
        setup::apt_install("python3-venv")?;
    }
    match requirements {
        [] => println!("setup: Python environment {name}"),
        _ => println!("setup: Python environment {name} ({})", requirements.join(", ")),
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    quiet(command(python, "").args(["-m", "venv"]).arg(&folder))?;
    if !requirements.is_empty() {
        quiet(pip(&inside).args(requirements))?;
    }
    setup::set_done(&stamp, &wanted)?;
    Ok(inside)
}

fn pip(python: &Path) -> std::process::Command {
    let mut pip = command(python, "");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip
}

/// The environment `target/venv`, with the tool that builds wheels.
pub(crate) fn tools() -> Result<PathBuf> {
    environment("venv", &base()?, &[MATURIN])
}

/// How a wheel is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Fast to build; shares its folder with the tests.
    Dev,
    /// What is shipped.
    Release,
}

/// Builds the wheel into `folder` and gives its path. One wheel serves every supported version of Python.
pub(crate) fn wheel(profile: Profile, folder: &Path) -> Result<PathBuf> {
    let python = tools()?;
    for old in wheels(folder) {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    let name = if profile == Profile::Release { "release" } else { "dev" };
    let mut maturin = command(&python, PACKAGE);
    maturin.env("CARGO_TARGET_DIR", target());
    maturin.args(["-m", "maturin", "build", "--quiet", "--locked", "--profile", name, "--interpreter"]).arg(&python);
    run(maturin.arg("--out").arg(folder))?;
    match wheels(folder).as_slice() {
        [wheel] => Ok(wheel.clone()),
        found => bail!("expected one wheel in {}, found {}", folder.display(), found.len()),
    }
}

fn wheels(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wse_client-")))
        .collect()
}

/// The environment `target/venv-demo` with this wheel in it, for the example programs and the end-to-end tests.
pub(crate) fn with_wheel(name: &str, python: &Path, wheel: &Path, requirements: &[&str]) -> Result<PathBuf> {
    let inside = environment(name, python, requirements)?;
    quiet(pip(&inside).args(["--force-reinstall", "--no-deps"]).arg(wheel))?;
    Ok(inside)
}

/// Runs the package's tests on one version of Python with an installed wheel.
pub(crate) fn pytest(version: &str, python: &Path, wheel: &Path, server: &Path) -> Result<()> {
    let inside = with_wheel(&format!("venv-{version}"), python, wheel, &PYTEST)?;
    let mut pytest = command(inside, &format!("{PACKAGE}/tests"));
    pytest.env("WSE_SERVER_BIN", server).env("PYTHONDONTWRITEBYTECODE", "1");
    run(pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "."]))
}

/// Removes the environment and wheel of the demo.
pub(crate) fn clean_demo() -> Result<()> {
    for name in ["venv-demo", "wheels"] {
        let folder = target().join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    Ok(())
}

/// The debug wheel of this tree, in `target/wheels`.
pub(crate) fn dev_wheel() -> Result<PathBuf> {
    wheel(Profile::Dev, &target().join("wheels"))
}

/// The types of the package: `mypy --strict`, and the stubs against the built extension.
pub(crate) fn types(wheel: &Path) -> Result<()> {
    let inside = with_wheel("venv-typing", &base()?, wheel, &TYPING)?;
    run(command(&inside, PACKAGE).args(["-m", "mypy"]))?;
    run(command(&inside, PACKAGE).args(["-m", "mypy.stubtest", "wse_client._core"]))
}
