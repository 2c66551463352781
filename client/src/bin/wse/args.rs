//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  wse sub ws://127.0.0.1:5006/wse 'host:*'                     watch every topic that starts with host:
  wse sub ws://127.0.0.1:5006/wse room:1 --json | jq .payload  one JSON object per message, for other programs
  wse pub ws://127.0.0.1:5006/wse room:1 chat '{\"text\":\"hi\"}'  publish one message
  wse ping wss://example.org/wse --token \"$TOKEN\"              is it there, who am I, how far is it

Exit codes:
  0  done, or stopped by Ctrl-C      2  wrong usage or setting
  1  not reached, or lost for good   3  refused: token, origin or topic";

/// Watch topics, publish and measure on a WSE server
#[derive(Parser, Debug)]
#[command(name = "wse", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Print the messages of topics as they come; survives restarts of the server
    #[command(after_help = "\
Examples:
  wse sub ws://127.0.0.1:5006/wse news room:1
  wse sub ws://127.0.0.1:5006/wse 'host:*' --count 10 --pretty
  wse sub ws://127.0.0.1:5006/wse '*' --encrypt --json > log.jsonl

* stands for any run of characters, ? for exactly one. Quote them, or the shell expands them.")]
    Sub(SubArgs),
    /// Publish messages to a topic
    #[command(after_help = "\
Examples:
  wse pub ws://127.0.0.1:5006/wse room:1 chat '{\"text\":\"hi\"}'
  seq 3 | wse pub ws://127.0.0.1:5006/wse room:1 number -
  wse pub ws://127.0.0.1:5006/wse room:1 chat '\"hi\"' --http --api-key \"$KEY\"")]
    Pub(PubArgs),
    /// Connect, say who the server takes us for, and measure round trips
    #[command(after_help = "Example:\n  wse ping ws://127.0.0.1:5006/wse --count 10 --interval 0.2")]
    Ping(PingArgs),
    /// Run a recording again, check that the same decisions are taken, and print why each was taken
    #[command(after_help = "\
Examples:
  wse sub ws://127.0.0.1:5006/wse room:1 --record flight.jsonl
  wse replay flight.jsonl

Exit code 1 when a decision came out otherwise, 2 when the file cannot be read, 4 when not all of it could be checked,
as when its start was dropped: it is printed all the same.")]
    Replay(ReplayArgs),
}

#[derive(clap::Args, Debug)]
pub(crate) struct ReplayArgs {
    /// A file written by --record or by `Client::recording`
    pub(crate) file: PathBuf,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ConnectArgs {
    /// Address of the server, ws:// or wss://
    pub(crate) url: String,
    /// Token to sign in with
    #[arg(long, env = "WSE_TOKEN", hide_env_values = true, value_name = "TOKEN", global = true)]
    pub(crate) token: Option<String>,
    /// Encrypt every message; a server that cannot is refused
    #[arg(long)]
    pub(crate) encrypt: bool,
    /// Exchange msgpack instead of JSON
    #[arg(long)]
    pub(crate) msgpack: bool,
    /// PEM file with certificates to trust beside the built-in ones
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Keep trying while the server cannot be reached at first
    #[arg(long)]
    pub(crate) wait: bool,
    /// Write a recording of inputs and decisions here, without payloads and secrets, for `wse replay`
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
#[command(group = ArgGroup::new("form").args(["json", "pretty"]))]
pub(crate) struct SubArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Topics or patterns
    #[arg(required = true, value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
    /// One JSON object per line: topic, type, id, ts, payload
    #[arg(long)]
    pub(crate) json: bool,
    /// Payloads indented, over several lines
    #[arg(long)]
    pub(crate) pretty: bool,
    /// Stop after this many messages
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct PubArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Topic to publish to
    pub(crate) topic: String,
    /// Type of the message
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// Payload, one JSON value; - reads one value from each line of stdin
    #[arg(value_name = "JSON", default_value = "{}", hide_default_value = true)]
    pub(crate) payload: String,
    /// Publish with a POST request instead of a WebSocket
    #[arg(long)]
    pub(crate) http: bool,
    /// Key for --http
    #[arg(long, env = "WSE_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Number of round trips
    #[arg(long, short = 'n', default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,
    /// Seconds between them
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) interval: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.01..=3600.0).contains(&seconds) {
        return Err("must lie between 0.01 and 3600".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }
}
