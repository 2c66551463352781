//! `wse replay`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use wse_client::wse_client_core::{
    record::{Divergence, Entry, Head, Heard, Recording, TokenAnswer, What, replay},
    time::WallTime,
};

use crate::{args::ReplayArgs, failure::Failure};

/// What was told could not be verified, or not all of it.
pub(crate) const UNCHECKED: &str = "REPLAY_UNCHECKED";

pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let unusable = |problem: &dyn std::fmt::Display| Failure::local(format!("{}: {problem}", args.file.display()));
    let file = std::fs::read(&args.file).map_err(|error| unusable(&error))?;
    let recording = Recording::from_bytes(&file).map_err(|error| unusable(&error))?;
    let report = replay(&recording).map_err(|error| unusable(&error))?;
    let mut out = io::stdout().lock();
    out.write_all(timeline(&recording).as_bytes())?;
    if !report.settings_complete {
        writeln!(out, "note: the recorded client had settings that the file does not hold; the replay used defaults")?;
    }
    if let Some(divergence) = report.divergence {
        out.flush()?;
        return Err(Failure::coded("REPLAY_DIVERGED", diverged(&divergence, recording.origin().as_millis())));
    }
    let (inputs, decisions) = (report.inputs, report.decisions);
    let Some(reason) = report.unchecked else {
        writeln!(out, "{inputs} inputs, {decisions} decisions, all the same")?;
        return Ok(());
    };
    out.flush()?;
    let checked = match inputs {
        0 => "nothing was checked".to_owned(),
        _ => format!("{inputs} inputs, {decisions} decisions, all the same; the rest was not checked"),
    };
    Err(Failure::coded(UNCHECKED, format!("{checked}: {reason}")))
}

/// One line for each entry: seconds since the client was made, what happened, and why.
fn timeline(recording: &Recording) -> String {
    let origin = recording.origin().as_millis();
    let mut out = format!("recorded by {} from {}\n", recording.core_version(), recording.started());
    for (entry, why) in recording.explained() {
        let _ = match why {
            Some(why) => writeln!(out, "{}    {:<58}  because: {why}", time(entry, origin), describe(&entry.what)),
            None => writeln!(out, "{}  {}", time(entry, origin), describe(&entry.what)),
        };
    }
    out
}

fn time(entry: &Entry, origin: u64) -> String {
    let ms = entry.at.saturating_sub(origin);
    format!("{:>9}", format!("{}.{:03}", ms / 1000, ms % 1000))
}

fn diverged(divergence: &Divergence, origin: u64) -> String {
    let tell = |entry: &Option<Entry>| {
        entry.as_ref().map_or_else(
            || "nothing more".to_owned(),
            |entry| format!("{} {}", time(entry, origin).trim_start(), describe(&entry.what)),
        )
    };
    // The header is line 1.
    let line = divergence.step + 2;
    format!("line {line}: recorded was: {}; the replay came to: {}", tell(&divergence.expected), tell(&divergence.got))
}

fn describe(what: &What) -> String {
    match what {
        What::Connect => "connect()".into(),
        What::Reconnect => "reconnect()".into(),
        What::CloseCommand { code } => format!("close({code})"),
        What::SetToken { given } => format!("set_token({})", if *given { "a token" } else { "none" }),
        What::RotateKeys => "rotate_keys()".into(),
        What::Send { head, len, .. } => format!("send({}, {len} bytes)", message(head)),
        What::Subscribe { topics, presence, group } => {
            let seen = if presence.is_some() { ", presence" } else { "" };
            let group = group.as_ref().map_or_else(String::new, |group| format!(", group {group}"));
            format!("subscribe({}{seen}{group})", topics.join(", "))
        }
        What::Unsubscribe { topics } => format!("unsubscribe({})", topics.join(", ")),
        What::Request { kind, .. } => format!("request({kind})"),
        What::SetChannelToken { topic, given } => {
            format!("set_channel_token({topic}, {})", if *given { "a token" } else { "none" })
        }
        What::Opened { socket } => format!("socket {socket} is open"),
        What::Frame { socket, len, heard, .. } => format!("socket {socket} ← {}, {len} bytes", came(heard.as_ref())),
        What::Closed { socket, code } => format!("socket {socket} closed by the server with {code}"),
        What::Failed { socket, status: Some(status) } => format!("socket {socket} failed with HTTP {status}"),
        What::Failed { socket, status: None } => format!("socket {socket} failed"),
        What::Token { answer, .. } => match answer {
            TokenAnswer::Given => "the provider gave a token".into(),
            TokenAnswer::None => "the provider gave no token".into(),
            TokenAnswer::Failed => "the token provider failed".into(),
        },
        What::ReadsPaused { paused } => format!("reading {}", if *paused { "stopped" } else { "goes on" }),
        What::Network { hint } => format!("the host says: {hint}"),
        What::Woke => "woken".into(),
        What::Clock { wall } => format!("the civil clock shows {}", WallTime::from_unix_ms(*wall)),
        What::Timer { name } => format!("timer {name}"),
        What::FetchToken { renew, .. } => format!("ask for a {}token", if *renew { "fresh " } else { "" }),
        What::Open { socket, url, .. } => format!("dial {url} as socket {socket}"),
        What::Write { socket, len, sealed, head, .. } => {
            let what = head.as_ref().map_or_else(|| "frame".to_owned(), message);
            format!("socket {socket} → {}{what}, {len} bytes", if *sealed { "sealed " } else { "" })
        }
        What::HangUp { socket, code } => format!("close socket {socket} with {code}"),
        What::State { from, to } => format!("{from} → {to}"),
        What::Event { name, facts } => {
            let facts: Vec<String> = facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
            format!("tell {name} {}", facts.join(", ")).trim_end().to_owned()
        }
        What::Refused { code } => format!("refuse: {code}"),
        _ => format!("{what:?}"),
    }
}

fn came(heard: Option<&Heard>) -> String {
    match heard {
        Some(Heard::Message { head, sealed, .. }) => {
            format!("{}{}", if *sealed { "sealed " } else { "" }, message(head))
        }
        Some(Heard::Refused(code)) => format!("a bad frame ({code})"),
        None => "a frame nobody waits for".into(),
    }
}

fn message(head: &Head) -> String {
    let mut text = head.t.clone();
    if let Some(topic) = &head.tp {
        let _ = write!(text, " on {topic}");
    }
    if let Some(offset) = head.o {
        let _ = write!(text, " at {offset}");
    }
    text
}
