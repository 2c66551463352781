//! Running other programs: where, how loudly, and that none outlives this one.

use std::{
    env,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// Process groups that are running. Each child leads its own group, so that what it starts ends with it.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo builds: `CARGO_TARGET_DIR`, or `target` in the workspace.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// A command that runs in a folder of the workspace (`""` for the workspace itself).
pub(crate) fn command(program: impl AsRef<Path>, folder: &str) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(root().join(folder)).stdin(Stdio::null());
    for (name, _) in env::vars_os().filter(|(name, _)| is_about_xtask(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

/// Variables by which `cargo run` describes this program. Build scripts that look at them (that of `ring` does) would run
/// again, and all that needs them be built again, whenever cargo was called by hand in between.
fn is_about_xtask(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// The cargo that runs this recipe, always with the lock file as it is.
pub(crate) fn cargo(verb: &str) -> Command {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).to_string_lossy().as_ref(), "");
    cargo.arg(verb);
    if verb != "fmt" {
        cargo.arg("--locked");
    }
    cargo
}

/// Runs a program whose output the reader wants to see.
///
/// # Errors
/// When it cannot be started or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = Running::start(command)?.wait()?;
    check(command, status)
}

/// Runs a program whose output matters only when it fails.
///
/// # Errors
/// When it cannot be started or ends with anything but success; the output is printed first.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    let output = output(command)?;
    if !output.status.success() {
        print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    check(command, output.status)
}

/// What a program prints, trimmed. `None` when it is missing or fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = output(command).ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a program prints, whether it ends with success or not.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?.stdout).into_owned())
}

fn output(command: &mut Command) -> Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let errors = running.child.stderr.take();
    let reader = thread::spawn(move || {
        if let Some(mut pipe) = errors {
            pipe.read_to_end(&mut stderr).ok();
        }
        stderr
    });
    if let Some(mut pipe) = running.child.stdout.take() {
        pipe.read_to_end(&mut stdout)?;
    }
    let stderr = reader.join().unwrap_or_default();
    Ok(Output { status: running.wait()?, stdout, stderr })
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{}` failed ({status})", shown(command))
}

/// A command as one would type it, without the folder of the workspace.
fn shown(command: &Command) -> String {
    let root = format!("{}/", root().display());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().replace(&root, "")).collect::<Vec<_>>().join(" ")
}

/// Whether a program of this name is on the `PATH`.
pub(crate) fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// A running program; dropping it ends the program and everything that it started.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    ended: bool,
}

impl Running {
    /// Starts a program in a process group of its own.
    ///
    /// # Errors
    /// When it cannot be started; the error names it.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut groups = lock();
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
        groups.push(child.id());
        Ok(Self { child, ended: false })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.ended |= status.is_some();
        Ok(status)
    }

    /// What it prints, if that is piped; once.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    fn wait(mut self) -> Result<ExitStatus> {
        let status = self.child.wait()?;
        self.ended = true;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = self.child.id();
        if !self.ended {
            signal(group, "TERM");
            let asked = Instant::now();
            while asked.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(20));
            }
        }
        // What the program left running in its group, or the program itself when it did not end.
        signal(group, "KILL");
        self.child.wait().ok();
        lock().retain(|other| *other != group);
    }
}

/// Makes Ctrl-C, a hang-up and a request to end (SIGTERM) end every program that was started here first.
///
/// # Errors
/// When the handler cannot be installed.
pub(crate) fn clean_up_on_signals() -> Result<()> {
    ctrlc::set_handler(|| {
        // The lock is kept: nothing new starts while this process ends.
        let groups = lock();
        for group in groups.iter() {
            signal(*group, "TERM");
        }
        let asked = Instant::now();
        while asked.elapsed() < GRACE && groups.iter().any(|group| signal(*group, "0")) {
            thread::sleep(Duration::from_millis(50));
        }
        for group in groups.iter() {
            signal(*group, "KILL");
        }
        std::process::exit(130);
    })
    .context("cannot watch for Ctrl-C")
}

/// Sends a signal to a process group by the shell's `kill`; false when the group is gone.
fn signal(group: u32, name: &str) -> bool {
    let mut kill = Command::new("sh");
    kill.args(["-c", &format!("kill -s {name} -- -{group}")]).stdout(Stdio::null()).stderr(Stdio::null());
    kill.status().is_ok_and(|status| status.success())
}

fn lock() -> std::sync::MutexGuard<'static, Vec<u32>> {
    GROUPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
