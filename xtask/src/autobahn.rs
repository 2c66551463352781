//! The Autobahn test suite: WebSocket conformance of the server's connections and of the native client's sockets.
//!
//! The suite needs Python 2.7; its cases of performance (9) and of compression (12, 13, which we do not negotiate) are left out.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    args::Args,
    lint, python, setup,
    sh::{Running, cargo, command, quiet, run as sh_run, target},
};

/// The version of Python that the suite runs on.
pub(crate) const PYTHON: &str = "2.7";
const SUITE: &str = "autobahntestsuite==25.10.1";
const VIRTUALENV: &str = "virtualenv==20.15.1";

const LEFT_OUT: [&str; 3] = ["9.*", "12.*", "13.*"];
/// Cases that the suite has beside those that are left out.
const CASES: usize = 247;

/// How long the suite may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// `cargo xtask autobahn [--cases 6.*,7.1.3]`.
pub(crate) fn run(mut args: Args) -> Result<()> {
    let cases = args.option::<String>("--cases")?;
    args.finish()?;
    setup::check_tools()?;
    let python =
        python::find(PYTHON).context("no Python 2.7 found: install one, for example `pyenv install 2.7.18`")?;
    check(&python, cases.as_deref())
}

/// Runs the cases (patterns separated by commas; `None`: all that are not left out) against server and client at once.
pub(crate) fn check(python: &Path, cases: Option<&str>) -> Result<()> {
    let suite = suite(python)?;
    let examples = ["--example", "echo_server", "--example", "echo_client"];
    let features = ["--features", "wse-server/echo,wse-client/echo"];
    sh_run(cargo("build").arg("--workspace").args(lint::NOT_NATIVE).args(examples).args(features))?;
    let (server, client) = thread::scope(|scope| {
        let server = scope.spawn(|| against_server(&suite, cases));
        let client = against_client(&suite, cases);
        (server.join().unwrap_or_else(|_| bail!("the thread of the server's cases panicked")), client)
    });
    let (server, client) = (server?, client?);
    let failed = server.print("server") + client.print("client");
    ensure!(failed == 0, "{failed} cases failed; what was said is in {}", folder("").display());
    let wanted = if cases.is_none() { CASES..=CASES } else { 1..=usize::MAX };
    ensure!(wanted.contains(&server.count()) && wanted.contains(&client.count()), "not all cases were run");
    Ok(())
}

/// The program `wstest`, installed on first use.
fn suite(python: &Path) -> Result<PathBuf> {
    let (tools, inside) = (folder("tools"), folder("venv"));
    let wanted = format!("{}\n{VIRTUALENV}\n{SUITE}\n", python.display());
    let stamp = folder(".made-from");
    let program = inside.join("bin/wstest");
    if setup::is_done(&stamp, &wanted) && program.is_file() {
        return Ok(program);
    }
    println!("setup: {SUITE} for Python {PYTHON} (a minute)");
    let pip = |python: &Path| {
        let mut pip = command(python, "");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    quiet(pip(python).arg("--target").arg(&tools).args(["--upgrade", VIRTUALENV]))?;
    quiet(command(python, "").env("PYTHONPATH", &tools).args(["-m", "virtualenv", "--quiet", "--clear"]).arg(&inside))?;
    quiet(pip(&inside.join("bin/python")).arg(SUITE))?;
    setup::set_done(&stamp, &wanted)?;
    Ok(program)
}

fn folder(name: &str) -> PathBuf {
    target().join("autobahn").join(name)
}

fn example(name: &str) -> PathBuf {
    target().join("debug/examples").join(name)
}

/// The suite is the client.
fn against_server(suite: &Path, cases: Option<&str>) -> Result<Outcome> {
    let mut echo = command(example("echo_server"), "");
    let mut echo = Running::start(echo.stdout(Stdio::piped()))?;
    let mut address = String::new();
    BufReader::new(echo.stdout().context("no output of the echo server")?).read_line(&mut address)?;
    let reports = fresh("server")?;
    let target = json!({ "servers": [{ "agent": "wse-server", "url": address.trim() }] });
    let specification = specification("server", &reports, cases, target)?;
    quiet(command(suite, "").args(["--mode", "fuzzingclient", "--spec"]).arg(specification))?;
    Outcome::read(&reports)
}

/// The suite is the server.
fn against_client(suite: &Path, cases: Option<&str>) -> Result<Outcome> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let url = format!("ws://127.0.0.1:{port}");
    let reports = fresh("client")?;
    let specification = specification("client", &reports, cases, json!({ "url": url }))?;
    let mut fuzzing = command(suite, "");
    fuzzing.args(["--mode", "fuzzingserver", "--webport", "0", "--spec"]).arg(specification);
    let mut fuzzing = Running::start(fuzzing.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        ensure!(fuzzing.ended()?.is_none() && started.elapsed() < PATIENCE, "the fuzzing server does not listen");
        thread::sleep(Duration::from_millis(100));
    }
    quiet(command(example("echo_client"), "").arg(&url))?;
    Outcome::read(&reports)
}

fn fresh(name: &str) -> Result<PathBuf> {
    let folder = folder(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Writes what the suite is to do.
fn specification(name: &str, reports: &Path, cases: Option<&str>, mut target: Value) -> Result<PathBuf> {
    let cases: Vec<&str> = cases.unwrap_or("*").split(',').collect();
    target["outdir"] = json!(reports);
    target["cases"] = json!(cases);
    target["exclude-cases"] = if cases == ["*"] { json!(LEFT_OUT) } else { json!([]) };
    target["exclude-agent-cases"] = json!({});
    let path = folder(&format!("{name}.json"));
    fs::write(&path, target.to_string())?;
    Ok(path)
}

/// What the suite says of one agent: for each case how it behaved, and how it closed.
#[derive(Debug, PartialEq, Eq)]
struct Outcome(BTreeMap<String, (String, String)>);

impl Outcome {
    fn read(reports: &Path) -> Result<Self> {
        let path = reports.join("index.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let index: Value = serde_json::from_str(text).context("the suite's report is not JSON")?;
        let agents: Vec<&Value> = index.as_object().context("the suite's report is no map")?.values().collect();
        let [agent] = agents[..] else { bail!("the suite reports of {} agents, not of one", agents.len()) };
        let word = |case: &Value, name: &str| case[name].as_str().unwrap_or("nothing").to_owned();
        let cases = agent.as_object().context("the suite's report has no cases")?.iter();
        Ok(Self(cases.map(|(id, case)| (id.clone(), (word(case, "behavior"), word(case, "behaviorClose")))).collect()))
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    fn failed(&self) -> impl Iterator<Item = (&String, &(String, String))> {
        const GOOD: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];
        self.0
            .iter()
            .filter(|(_, (behaviour, close))| !GOOD.contains(&behaviour.as_str()) || !GOOD.contains(&close.as_str()))
    }

    /// Prints a line, and one for each case that failed. Answers how many did.
    fn print(&self, name: &str) -> usize {
        let (mut ok, mut failed) = (0, 0);
        for (behaviour, _) in self.0.values() {
            ok += usize::from(behaviour == "OK");
        }
        for (id, (behaviour, close)) in self.failed() {
            failed += 1;
            println!("autobahn: {name}: case {id}: {behaviour}, closing {close}");
        }
        let other = self.count() - ok - failed;
        println!(
            "autobahn: {name}: {} cases, {ok} OK, {other} informational or not strict, {failed} failed",
            self.count()
        );
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_suite_does_not_call_good_has_failed() {
        let report = json!({ "agent": {
            "1.1.1": { "behavior": "OK", "behaviorClose": "OK" },
            "6.4.3": { "behavior": "NON-STRICT", "behaviorClose": "OK" },
            "7.1.6": { "behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL" },
            "7.5.1": { "behavior": "FAILED", "behaviorClose": "OK" },
            "7.7.1": { "behavior": "OK", "behaviorClose": "UNCLEAN" },
            "7.9.1": {},
        } });
        let outcome = Outcome::parse(&report.to_string()).expect("a report");
        let failed: Vec<&str> = outcome.failed().map(|(id, _)| id.as_str()).collect();
        assert_eq!((failed, outcome.count()), (vec!["7.5.1", "7.7.1", "7.9.1"], 6));
        assert!(Outcome::parse("{}").is_err() && Outcome::parse("[]").is_err());
    }
}
