//! Runs a recording again and compares.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    client::{Client, Fault, Input, NetworkHint, Outgoing, Output, Request, RequestId, SubscribeOptions},
    config::RecordConfig,
    io::{Close, Frame, SocketId},
    rng::Seed,
    time::{Moment, WallTime},
    wire::{Payload, Priority},
};

use super::{
    Entry, FrameKind, Head, Heard, Presence, Recording, RecordingError, TokenAnswer, What, format,
    redact::{self, MAX_PAYLOAD},
};

/// What a replay found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Commands and inputs that were fed.
    pub inputs: usize,
    /// Decisions that were compared.
    pub decisions: usize,
    /// The first entry that came out otherwise.
    pub divergence: Option<Divergence>,
    /// Why nothing was checked, or nothing after some entry.
    pub unchecked: Option<String>,
    /// Whether the file has every setting of the client that it was recorded from. If not, a divergence may come
    /// from a setting.
    pub settings_complete: bool,
}

/// The first entry that came out otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Divergence {
    /// Index of the entry in [`Recording::entries`].
    pub step: usize,
    /// What was recorded; `None` when the recording ends before.
    pub expected: Option<Entry>,
    /// What the replay came to; `None` when it ended before.
    pub got: Option<Entry>,
}

/// Runs a recording again and checks that the same decisions are taken.
///
/// # Errors
/// [`RecordingError::BadLine`] when an entry, or the settings in the header, cannot be fed to a client.
pub fn replay(recording: &Recording) -> Result<Report, RecordingError> {
    let mut report = Report {
        inputs: 0,
        decisions: 0,
        divergence: None,
        unchecked: None,
        settings_complete: recording.header.settings_complete,
    };
    if recording.truncated() > 0 {
        let dropped = recording.truncated();
        report.unchecked = Some(format!("the start is missing: {dropped} entries were dropped from a full ring"));
        return Ok(report);
    }
    let mut client = client(recording)?;
    for (at, entry) in recording.entries.iter().enumerate() {
        if entry.what.is_cause() {
            let next = recording.entries.get(at + 1).map(|entry| &entry.what);
            // The header is line 1.
            feed(&mut client, entry, next).map_err(|problem| RecordingError::BadLine { line: at + 2, problem })?;
            report.inputs += 1;
        }
    }
    let again = client.recording().map(|recording| recording.entries).unwrap_or_default();
    report.divergence = first_difference(&recording.entries, &again);
    let all = recording.entries.len();
    let compared = report.divergence.as_ref().map_or(all, |divergence| divergence.step.min(all));
    report.decisions = recording.entries[..compared].iter().filter(|entry| entry.what.is_decision()).count();
    Ok(report)
}

fn client(recording: &Recording) -> Result<Client, RecordingError> {
    let bad = |problem: String| RecordingError::BadLine { line: 1, problem };
    let header = &recording.header;
    let mut config = header.settings.to_config();
    config.diagnostics.record = Some(RecordConfig { max_entries: usize::MAX, max_bytes: usize::MAX });
    let seed = header.seed().ok_or_else(|| bad("choices_seed must be 64 hex digits".into()))?;
    let (now, wall) = (recording.origin(), WallTime::from_unix_ms(header.wall));
    Client::choosing_as(config, Seed::from_u64(0), seed, now, wall).map_err(|error| bad(error.to_string()))
}

/// Does what `entry` says. `next` tells how a command ended, where that depends on what was left out.
fn feed(client: &mut Client, entry: &Entry, next: Option<&What>) -> Result<(), String> {
    let now = Moment::from_millis(entry.at);
    match &entry.what {
        What::Connect => client.connect(now),
        What::Reconnect => client.reconnect(now),
        What::CloseCommand { code } => client.close(Close::new(*code, ""), now),
        What::SetToken { given } => client.set_token(given.then(format::no_token), now),
        What::Send { head, len, msgpack } => {
            let too_large = matches!(next, Some(What::Refused { code }) if code == "MESSAGE_TOO_LARGE");
            // A refusal is in the recording.
            let _ = client.send(outgoing(head, *len, *msgpack, too_large)?, now);
        }
        What::Subscribe { topics, presence, group } => {
            let presence = match presence {
                Some(Presence::Seen(seen)) => Some(Payload::new(seen).map_err(|error| error.to_string())?),
                Some(Presence::Tells(len)) => Some(redact::payload(*len, false, false)?),
                None => None,
            };
            let _ = client.subscribe_with(topics, &SubscribeOptions { presence, group: group.clone() }, now);
        }
        What::Unsubscribe { topics } => {
            let _ = client.unsubscribe(topics, now);
        }
        What::Request { kind, len } => {
            let payload = redact::payload(*len, false, false)?;
            let _ = client.request(&Request::Named { kind: kind.clone(), payload }, now);
        }
        What::RotateKeys => {
            let _ = client.rotate_keys(now);
        }
        What::SetChannelToken { topic, given } => {
            let _ = client.set_channel_token(topic, given.then(format::no_token));
        }
        What::Clock { wall } => client.set_clock(WallTime::from_unix_ms(*wall), now),
        input => feed_input(client, input, now)?,
    }
    drain(client);
    Ok(())
}

fn feed_input(client: &mut Client, input: &What, now: Moment) -> Result<(), String> {
    let input = match input {
        What::Opened { socket } => Input::Opened(SocketId(*socket)),
        What::Frame { socket, frame, len, heard } => {
            if *len > MAX_PAYLOAD {
                return Err(format!("a frame of {len} bytes"));
            }
            let heard = heard.as_ref().map(|heard| redact::retell(heard, *len)).transpose()?;
            client.recorder().retell(heard);
            let bytes = Bytes::from(vec![0; *len]);
            let frame = if *frame == FrameKind::Text { Frame::Text(bytes) } else { Frame::Binary(bytes) };
            Input::Frame(SocketId(*socket), frame)
        }
        What::Closed { socket, code } => Input::Closed(SocketId(*socket), Close::new(*code, "")),
        What::Failed { socket, status } => {
            Input::Failed(SocketId(*socket), Fault { http_status: *status, detail: String::new() })
        }
        What::Token { request, answer } => {
            let answer = match answer {
                TokenAnswer::Given => Ok(Some(format::no_token())),
                TokenAnswer::None => Ok(None),
                TokenAnswer::Failed => Err(String::new()),
            };
            Input::Token(RequestId(*request), answer)
        }
        What::Network { hint } => Input::Network(NetworkHint::named(hint).map_err(|refused| refused.to_string())?),
        What::ReadsPaused { paused } => Input::ReadsPaused(*paused),
        _ => Input::Wake,
    };
    client.handle(input, now);
    Ok(())
}

fn outgoing(head: &Head, len: usize, msgpack: bool, too_large: bool) -> Result<Outgoing, String> {
    Ok(Outgoing {
        topic: head.tp.clone(),
        id: head.id.clone(),
        correlation_id: head.cid.clone(),
        traceparent: head.traceparent.clone(),
        priority: head.pri.map_or_else(Priority::default, |pri| Priority::from_number(pri.into())),
        ..Outgoing::new(head.t.clone(), redact::payload(len, msgpack, too_large)?)
    })
}

fn drain(client: &mut Client) {
    while !matches!(client.poll(), Output::Wait(_)) {}
}

fn first_difference(expected: &[Entry], got: &[Entry]) -> Option<Divergence> {
    let steps = expected.len().max(got.len());
    (0..steps)
        .map(|step| (step, expected.get(step), got.get(step)))
        .find(|(_, expected, got)| !same(*expected, *got))
        .map(|(step, expected, got)| Divergence { step, expected: expected.cloned(), got: got.cloned() })
}

fn same(expected: Option<&Entry>, got: Option<&Entry>) -> bool {
    let (Some(expected), Some(got)) = (expected, got) else { return expected.is_none() && got.is_none() };
    expected.at == got.at && comparable(&expected.what) == comparable(&got.what)
}

/// Without what depends on things that were left out.
fn comparable(what: &What) -> Cow<'_, What> {
    let mut what = Cow::Borrowed(what);
    match &*what {
        What::Write { .. } | What::Send { .. } => {
            // Other bytes compress to another length, or not at all, and compressed text goes in a binary frame.
            if let What::Write { frame, .. } = what.to_mut() {
                *frame = FrameKind::Binary;
            }
            if let What::Write { len, .. } | What::Send { len, .. } = what.to_mut() {
                *len = 0;
            }
        }
        // A replay hears what the recording says; what counts is whether it listened.
        What::Frame { heard: Some(_), .. } => {
            if let What::Frame { heard, .. } = what.to_mut() {
                *heard = Some(Heard::Refused(String::new()));
            }
        }
        _ => {}
    }
    what
}
