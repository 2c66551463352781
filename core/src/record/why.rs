//! One short reason for each decision: its cause, and the rule that applied where there is one.

use crate::error::close::{self, Reaction};

use super::{Heard, TokenAnswer, What};

/// Why `decision` was taken, when `cause` was the last thing that happened before it.
pub(super) fn why(cause: Option<&What>, decision: &What) -> String {
    let Some(cause) = cause else { return "the cause is not in the recording any more".into() };
    match cause {
        What::Timer { name } => {
            timer(name).map_or_else(|| format!("timer {name}"), |rule| format!("timer {name}: {rule}"))
        }
        What::Closed { code, .. } => format!("close {code} → {}", reaction(*code, decision)),
        What::Failed { status: Some(401), .. } => "HTTP 401 → renew the token, reconnect".into(),
        What::Failed { status: Some(status), .. } => format!("HTTP {status} → reconnect"),
        What::Failed { status: None, .. } => "the socket failed → reconnect".into(),
        What::Frame { heard: Some(Heard::Message { head, .. }), .. } => format!("message {}", head.t),
        What::Frame { heard: Some(Heard::Refused(code)), .. } => format!("frame refused: {code}"),
        What::Frame { heard: None, .. } => "frame of a socket given up".into(),
        What::Opened { .. } => "the socket is open".into(),
        What::Token { answer, .. } => match answer {
            TokenAnswer::Given => "the provider gave a token".into(),
            TokenAnswer::None => "the provider gave no token".into(),
            TokenAnswer::Failed => "the token provider failed → reconnect".into(),
        },
        What::ReadsPaused { paused: true } => "reading stopped".into(),
        What::ReadsPaused { paused: false } => "reading goes on".into(),
        What::Network { hint } => format!("the host says: {hint}"),
        What::Woke => "the driver woke the client".into(),
        What::Clock { .. } => "the civil clock was set".into(),
        command => format!("the application asked: {}", command_name(command)),
    }
}

fn reaction(code: u16, decision: &What) -> &'static str {
    // What the server's close led to, unless the client gave up for another reason.
    if matches!(decision, What::State { to, .. } if to == "failed") {
        return "stop";
    }
    match close::reaction(code) {
        Reaction::Reconnect => "reconnect",
        Reaction::RenewToken => "renew the token, reconnect",
        Reaction::Stop => "stop",
    }
}

fn timer(name: &str) -> Option<&'static str> {
    Some(match name {
        "Dial" => "token or socket took too long",
        "Ready" => "the server was not ready in time",
        "Grace" => "a server that says no server_ready is taken as it is",
        "Ping" => "the next ping is due",
        "Silence" => "nothing came after a ping",
        "Stable" => "the connection held",
        "Retry" => "the pause is over",
        "Outbound" => "what waits may go out",
        "Recovery" => "a gap is asked about again",
        "Reorder" => "a gap in the sequence was waited for long enough",
        "Request" => "no answer to a request",
        "Rotation" => "the age of the key",
        "Subscription" => "no answer to a subscription request",
        _ => return None,
    })
}

fn command_name(command: &What) -> &'static str {
    match command {
        What::Connect => "connect",
        What::Reconnect => "reconnect",
        What::CloseCommand { .. } => "close",
        What::SetToken { .. } => "set_token",
        What::RotateKeys => "rotate_keys",
        What::Send { .. } => "send",
        What::Subscribe { .. } => "subscribe",
        What::Unsubscribe { .. } => "unsubscribe",
        What::Request { .. } => "request",
        What::SetChannelToken { .. } => "set_channel_token",
        _ => "something",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_the_cause_and_the_rule() {
        let ask = What::FetchToken { request: 1, renew: true };
        let reason = |cause: &What| why(Some(cause), &ask);
        assert_eq!(reason(&What::Closed { socket: 1, code: 4401 }), "close 4401 → renew the token, reconnect");
        assert_eq!(reason(&What::Timer { name: "Retry".into() }), "timer Retry: the pause is over");
        assert_eq!(reason(&What::Timer { name: "Novel".into() }), "timer Novel");
        assert_eq!(reason(&What::Connect), "the application asked: connect");
        assert_eq!(why(None, &ask), "the cause is not in the recording any more");
    }
}
