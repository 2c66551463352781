//! The binary: flags, the token command, signals.

mod common;

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use common::{Client, PATIENCE, SECRET};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wse-server"));
    command.args(arguments).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSE_")) {
        command.env_remove(name);
    }
    command
}

async fn run(arguments: &[&str]) -> (Output, String) {
    let output = timeout(PATIENCE, command(arguments).output()).await.expect("ends in time").expect("runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

/// Starts a server and reads its log up to the address.
async fn start(mut command: Command) -> (Child, String, BufReader<tokio::process::ChildStderr>) {
    let mut child = command.spawn().expect("starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let address = timeout(PATIENCE, async {
        loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).await.expect("readable") > 0, "ended without an address");
            if let Some((_, rest)) = line.split_once("ws://") {
                return rest.split('/').next().expect("an address").to_owned();
            }
        }
    })
    .await
    .expect("listens in time");
    (child, address, log)
}

#[tokio::test]
async fn a_token_of_the_command_opens_the_door_and_a_signal_closes_it_in_order() {
    let arguments = ["token", "--secret", SECRET, "--sub", "bob", "--ttl", "60", "--publish-allow", "a,b"];
    let (output, _) = run(&arguments).await;
    assert!(output.status.success());
    let token = String::from_utf8(output.stdout).expect("text").trim().to_owned();

    let mut server = command(&["--port", "0", "--jwt-secret", SECRET]);
    server.env("WSE_LOG", "debug");
    let (mut child, address, mut log) = start(server).await;
    let request = format!("ws://{address}/wse?token={token}").into_client_request().expect("a request");
    let mut client = Client::connect(request).await;
    let ready = client.message().await;
    assert_eq!(common::payload(&ready)["details"]["user_id"], "bob");

    let pid = child.id().expect("running").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.expect("runs").success());
    assert_eq!(client.closed().await.code, 4300);
    drop(client);
    let status = timeout(PATIENCE, child.wait()).await.expect("ends in time").expect("waited for");
    assert!(status.success(), "{status}");
    let mut rest = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut log, &mut rest).await.expect("text");
    assert!(rest.contains("token in the URL"), "the warning is missing: {rest}");
    assert!(!rest.contains(&token), "the token is in the log");
}

#[tokio::test]
async fn wrong_settings_end_with_a_message_that_helps() {
    for (arguments, words) in [
        (&["--jwt-secret", "short"][..], &["jwt_secret", "32"][..]),
        (&["--host", "0.0.0.0", "--port", "0"], &["--jwt-secret", "--allow-open"]),
        (&["--prot", "1"], &["--port"]),
        (&["--port", "70000"], &["--port", "65535"]),
        (&["--allowed-origins", "example.com"], &["allowed_origins", "https://"]),
        (&["--static", "/no/such/folder"], &["/no/such/folder"]),
        (&["--log", "not a=filter=x"], &["--log"]),
        (&["--log-level", "wran"], &["--log-level", "wran", "warn"]),
        (&["--memory-budget", "1MiB"], &["memory_budget is 1MiB", "at least 289MiB"]),
        (&["--memory-budget", "1GB"], &["--memory-budget", "GiB?"]),
        (&["token", "--secret", "short", "--sub", "u"], &["32"]),
        (&["token", "--secret", SECRET], &["--sub"]),
        (&["token", "--sub", "u"], &["--secret", "--key"]),
        (&["token", "--key", "/no/such/file", "--sub", "u"], &["/no/such/file"]),
        (&["token", "--key", "Cargo.toml", "--sub", "u"], &["Cargo.toml", "PEM"]),
        (&["--jwt-keys", "Cargo.toml"], &["jwt_keys", "Cargo.toml", "JWK"]),
    ] {
        let (output, text) = run(arguments).await;
        assert!(!output.status.success(), "{arguments:?}");
        for word in words {
            assert!(text.contains(word), "{arguments:?}: {word} is missing in {text}");
        }
    }
}

#[tokio::test]
async fn a_key_pair_signs_and_checks() {
    let server = command(&["--port", "0", "--jwt-keys", "src/auth/testdata/p256-public.pem"]);
    let (_child, address, _log) = start(server).await;
    let (output, text) = run(&["token", "--key", "src/auth/testdata/p256.pem", "--kid", "k1", "--sub", "dave"]).await;
    assert!(output.status.success(), "{text}");
    let token = String::from_utf8(output.stdout).expect("text");
    let request = format!("ws://{address}/wse?token={}", token.trim()).into_client_request().expect("a request");
    let ready = Client::connect(request).await.message().await;
    assert_eq!(common::payload(&ready)["details"]["user_id"], "dave");
}

#[tokio::test]
async fn settings_come_from_the_environment_too() {
    let mut server = command(&[]);
    server.env("WSE_PORT", "0").env("WSE_JWT_SECRET", SECRET);
    let (_child, address, _log) = start(server).await;
    let request = format!("ws://{address}/wse").into_client_request().expect("a request");
    assert_eq!(Client::connect(request).await.error_and_close().await.1.code, 4401);

    let mut token = command(&["token", "--sub", "carol"]);
    let output = token.env("WSE_JWT_SECRET", SECRET).env("WSE_PORT", "0").output().await.expect("runs");
    let token = String::from_utf8(output.stdout).expect("text");
    let request = format!("ws://{address}/wse?token={}", token.trim()).into_client_request().expect("a request");
    assert_eq!(Client::connect(request).await.message().await.kind(), "server_ready");
}

#[tokio::test]
async fn check_config_shows_what_counts_and_where_it_comes_from() {
    let path = std::env::temp_dir().join(format!("wse-config-{}.toml", std::process::id()));
    let file = path.to_str().expect("text").to_owned();
    let text = format!("port = 1\nmax_connections = 50\njwt_secret = \"{SECRET}\"\nmax_message_size = \"64KiB\"\n");
    std::fs::write(&path, text).expect("written");
    let mut check = command(&["check-config", &file, "--max-connections", "70"]);
    let output = check.env("WSE_PORT", "2").output().await.expect("runs");
    let shown = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (start, end) in [
        ("port = 2 ", "# WSE_PORT"),
        ("max_connections = 70 ", "# --max-connections"),
        ("max_message_size = \"64KiB\" ", "# file"),
        ("# jwt_secret = \"********\" ", "# file"),
        ("host = \"127.0.0.1\" ", "# default"),
    ] {
        assert!(shown.lines().any(|line| line.starts_with(start) && line.ends_with(end)), "{start}: {shown}");
    }
    assert!(!shown.contains(SECRET));
    // What it prints is a file that means the same.
    std::fs::write(&path, format!("{shown}\njwt_secret = \"{SECRET}\"")).expect("written");
    let (again, problem) = run(&["check-config", &file]).await;
    assert!(again.status.success(), "{problem}");
    assert!(String::from_utf8_lossy(&again.stdout).contains("max_connections = 70 "));

    for (text, words) in [
        ("max_conections = 1", &["max_conections", "did you mean \"max_connections\""][..]),
        ("port = \"x\"", &["port must be"]),
        ("jwt_secret = \"short\"", &["jwt_secret", "32"]),
        ("host = \"0.0.0.0\"", &["--allow-open"]),
        ("log = \"not a=filter=x\"", &["WSE_LOG"]),
        ("port = ", &["line 1"]),
    ] {
        std::fs::write(&path, text).expect("written");
        let (output, problem) = run(&["check-config", &file]).await;
        assert_eq!(output.status.code(), Some(1), "{text}");
        for word in words {
            assert!(problem.contains(word), "{text}: {word} is missing in {problem}");
        }
        let (output, _) = run(&["--config", &file]).await;
        assert_eq!(output.status.code(), Some(1), "{text}: the server refuses it too");
    }
    std::fs::remove_file(path).expect("removed");
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let server = command(&["--port", "0", "--drain-delay", "1h"]);
    let (mut child, address, mut log) = start(server).await;
    let mut client = Client::connect(format!("ws://{address}/wse").into_client_request().expect("a request")).await;
    assert_eq!(client.message().await.kind(), "server_ready");
    let pid = child.id().expect("running").to_string();
    let signal =
        async |name: &str| assert!(Command::new("kill").args([name, &pid]).status().await.expect("runs").success());
    signal("-TERM").await;
    timeout(PATIENCE, async {
        let mut line = String::new();
        while !line.contains("draining") {
            line.clear();
            assert!(log.read_line(&mut line).await.expect("readable") > 0, "ended early");
        }
    })
    .await
    .expect("told in time");
    client.expect_alive().await;
    signal("-INT").await;
    let status = timeout(PATIENCE, child.wait()).await.expect("ends in time").expect("waited for");
    assert_eq!(status.code(), Some(130));
}

#[tokio::test]
async fn help_teaches() {
    let output = timeout(Duration::from_secs(5), command(&["--help"]).output()).await.expect("in time").expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in ["Examples:", "WSE_JWT_SECRET", "--static", "wse-server token", "/wse/publish"] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn settings_can_be_read_by_who_stops_early() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_wse-server"))
        .arg("check-config")
        .env_remove("WSE_CONFIG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("can be used"), "{said}");
}
