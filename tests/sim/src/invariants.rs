//! What must be true, whatever the weather. Each rule stands here once; the world calls it where it can be broken.

use std::fmt;

use wse_client_core::{
    client::{ConnectionState, SubscriptionAction, SubscriptionOutcome},
    delivery::LostRange,
    io::Frame,
    time::Moment,
    wire::Message,
};

use crate::{
    history::Stamp,
    line::LineId,
    plan::{DENIED, RECOVERABLE},
    servers::epoch_number,
    tab::Track,
    world::World,
};

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A client has at most one socket.
    OneSocket,
    /// A client that is not off has a next moment on its clock, and not a far one.
    NeverParked,
    /// Once the weather is good every client that is not off is connected, within a bound.
    ComesBack,
    /// What a connected client wants to hear is what its server knows that it wants.
    Subscribed,
    /// A publication of a recoverable topic comes once, in order, and after an explicit word about any gap.
    OnceInOrder,
    /// What is told to be lost was not heard, exists, and was declared lost by a server.
    LostIsTrue,
    /// In the end each subscriber has heard everything, or was told.
    Complete,
    /// Publications of a topic without history never come twice or out of order.
    PlainOrder,
    /// After the first sealed frame of a direction everything in it is sealed, and an application that asked for
    /// encryption is never connected without it.
    NoPlaintext,
    /// No nonce is used twice with one key.
    NonceOnce,
    /// What nobody sent, or came on a socket that is no more, is not heard.
    NoForgery,
    /// Each attempt carries the last token that was set.
    FreshToken,
    /// Accepted messages = heard by a server + dropped with a word + queued + lost with a connection that broke; none is heard twice.
    Sum,
    /// Every request of the application ends once.
    RequestEnds,
    /// States change as they are told, and only a client that may fail fails.
    StateTold,
    /// Nothing grows without a bound.
    Memory,
    /// The clock moves.
    TimeMoves,
}

impl Invariant {
    /// The name in messages and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneSocket => "one-socket",
            Self::NeverParked => "never-parked",
            Self::ComesBack => "comes-back",
            Self::Subscribed => "subscribed",
            Self::OnceInOrder => "once-in-order",
            Self::LostIsTrue => "lost-is-true",
            Self::Complete => "complete",
            Self::PlainOrder => "plain-order",
            Self::NoPlaintext => "no-plaintext",
            Self::NonceOnce => "nonce-once",
            Self::NoForgery => "no-forgery",
            Self::FreshToken => "fresh-token",
            Self::Sum => "sum",
            Self::RequestEnds => "request-ends",
            Self::StateTold => "state-told",
            Self::Memory => "memory",
            Self::TimeMoves => "time-moves",
        }
    }
}

/// A rule that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// When, on the world's clock.
    pub at: Moment,
    /// How.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms: {}", self.invariant.name(), self.at.as_millis(), self.detail)
    }
}

/// The longest wait that a client may have on its clock, in milliseconds.
const LONGEST_WAIT: u64 = 60_000;

/// After each step.
pub(crate) fn each_step(world: &mut World) {
    for index in 0..world.tabs.len() {
        one_socket(world, index);
        let tab = &world.tabs[index];
        if tab.is_off() || tab.frozen {
            continue;
        }
        let bound = world.now.as_millis() + LONGEST_WAIT;
        if tab.deadline.is_none_or(|at| at.as_millis() > bound) {
            let detail = format!("client {index} is {} and waits until {:?}", tab.state.as_str(), tab.deadline);
            world.fail(Invariant::NeverParked, detail);
        }
    }
}

pub(crate) fn one_socket(world: &mut World, index: usize) {
    if world.tabs[index].live.len() > 1 {
        let detail = format!("client {index} holds sockets {:?}", world.tabs[index].live);
        world.fail(Invariant::OneSocket, detail);
    }
}

pub(crate) fn token_is_the_last(world: &mut World, index: usize, number: Option<u64>) {
    let last = world.tabs[index].token;
    if number != Some(last) {
        world.fail(Invariant::FreshToken, format!("client {index} dials with token {number:?}, the last is {last}"));
    }
}

pub(crate) fn frame_on_the_wire(world: &mut World, id: LineId, direction: usize, frame: &Frame) {
    let Some(line) = world.lines.get_mut(&id) else { return };
    let bytes = frame.bytes();
    if bytes.starts_with(b"E:") {
        line.sealed[direction] = true;
        let fresh = line.nonces.insert(bytes[2..14.min(bytes.len())].to_vec());
        if !fresh {
            world.fail_line(id, Invariant::NonceOnce, "a nonce is used twice");
        }
    } else if line.sealed[direction] {
        world.fail_line(id, Invariant::NoPlaintext, "a frame in the clear after sealed ones");
    }
}

pub(crate) fn connected_as_agreed(world: &mut World, index: usize) {
    let wanted = world.plan.clients[index].security.encryption;
    let encrypted = world.tabs[index].client.server().is_some_and(|info| info.encrypted);
    if wanted && !encrypted {
        world.fail(Invariant::NoPlaintext, format!("client {index} is connected without the encryption it asked for"));
    }
}

pub(crate) fn state_changed(world: &mut World, index: usize, from: ConnectionState, to: ConnectionState) {
    let tab = &mut world.tabs[index];
    let (known, may_fail) = (tab.state, tab.may_fail);
    tab.state = to;
    if known != from {
        world.fail(Invariant::StateTold, format!("client {index}: from {from:?} is told, and it was {known:?}"));
    }
    if to == ConnectionState::Failed && !may_fail {
        world.fail(Invariant::StateTold, format!("client {index} gave up, and no rule allows it"));
    }
}

pub(crate) fn request_ended(world: &mut World, index: usize, outcome: &SubscriptionOutcome) {
    let tab = &mut world.tabs[index];
    for (name, _) in &outcome.refused {
        tab.wanted.remove(name);
    }
    let known = outcome.request.0 == 0 || tab.requests.remove(&outcome.request);
    if outcome.confirmed && outcome.action == SubscriptionAction::Subscribe {
        note_baselines(world, index, &outcome.accepted);
    }
    if !known {
        world.fail(Invariant::RequestEnds, format!("client {index}: {:?} ended twice", outcome.request));
    }
}

/// From here on the client knows where the topics stand, and everything after that is owed to it.
fn note_baselines(world: &mut World, index: usize, topics: &[String]) {
    let Some(socket) = world.tabs[index].live.first().copied() else { return };
    let Some(line) = world.lines.get(&(index, socket)) else { return };
    for name in topics {
        let tab = &mut world.tabs[index];
        if let (Some(Some(stamp)), true) = (line.baselines.get(name), tab.wanted.contains(name)) {
            tab.tracks.entry(name.clone()).or_insert(Track { at: *stamp, over: false });
        }
    }
}

/// An application received a message.
pub(crate) fn delivered(world: &mut World, index: usize, message: &Message) {
    let truth: serde_json::Value = message.payload().parse().unwrap_or_default();
    let member = |name: &str| truth.get(name).and_then(serde_json::Value::as_u64);
    let (Some(number), Some(epoch), Some(offset), Some(topic)) =
        (member("n"), member("epoch"), member("offset"), message.topic())
    else {
        return world.fail(Invariant::NoForgery, format!("client {index} heard what nobody sent: {truth}"));
    };
    world.report.delivered += 1;
    if !RECOVERABLE.contains(&topic) {
        return plain_order(world, index, topic, number);
    }
    let said = message.epoch().and_then(epoch_number).zip(message.offset());
    if said != Some((epoch, offset)) {
        let detail = format!("client {index}: {topic} is stamped {said:?} and is ({epoch}, {offset})");
        return world.fail(Invariant::OnceInOrder, detail);
    }
    if world.tabs[index].wanted.contains(topic) {
        next_of_topic(world, index, topic, Stamp { epoch, offset });
    }
}

fn plain_order(world: &mut World, index: usize, topic: &str, number: u64) {
    let last = world.tabs[index].last_heard.insert(topic.to_owned(), number);
    if last.is_some_and(|last| last >= number) {
        world.fail(Invariant::PlainOrder, format!("client {index}: {topic} number {number} after {last:?}"));
    }
}

fn next_of_topic(world: &mut World, index: usize, topic: &str, stamp: Stamp) {
    let after = Track { at: Stamp { offset: stamp.offset + 1, ..stamp }, over: false };
    let Some(track) = world.tabs[index].tracks.insert(topic.to_owned(), after) else { return };
    let expected = match track.over {
        // The next epoch, from its start.
        true => stamp.epoch > track.at.epoch && stamp.offset == 0,
        false => stamp == track.at,
    };
    if !expected {
        world.fail(Invariant::OnceInOrder, format!("client {index}: {topic} {stamp:?} comes, expected {track:?}"));
    }
}

/// An application was told that something will never come.
pub(crate) fn told_lost(world: &mut World, index: usize, topic: &str, range: &LostRange) {
    world.report.lost += 1;
    if !world.tabs[index].wanted.contains(topic) {
        return;
    }
    let Some(epoch) = epoch_number(&range.epoch) else {
        return world.fail(Invariant::LostIsTrue, format!("client {index}: {topic} never had epoch {}", range.epoch));
    };
    let track = world.tabs[index].tracks.get(topic).copied();
    let follows = track.is_none_or(|track| match track.over {
        true => epoch > track.at.epoch && range.from == 0,
        false => (Stamp { epoch, offset: range.from }) == track.at,
    });
    if !follows {
        let detail = format!("client {index}: {topic} {range:?} is told to be lost, but it stands at {track:?}");
        return world.fail(Invariant::LostIsTrue, detail);
    }
    let (over, next) = match range.to {
        None => (true, range.from),
        Some(to) => (false, to + 1),
    };
    world.tabs[index].tracks.insert(topic.to_owned(), Track { at: Stamp { epoch, offset: next }, over });
    let declared = match range.to {
        None => epoch < world.history.epoch(),
        Some(to) => to >= range.from && world.tabs[index].said_lost.contains(&(topic.to_owned(), epoch, to)),
    };
    // Questions that a dead connection swallows are given up at last; only a host that claims to be offline lets a
    // client keep such a connection for so long.
    let live = world.tabs[index].live.first().and_then(|socket| world.lines.get(&(index, *socket)));
    let unanswered = live.is_none_or(|line| line.dead != [false; 2]);
    if !declared && !unanswered {
        let detail = format!("client {index}: {topic} {range:?} is told to be lost, and no server said so");
        world.fail(Invariant::LostIsTrue, detail);
    }
}

/// A server heard a message of an application.
pub(crate) fn heard_once(world: &mut World, id: LineId, number: u64) {
    world.report.heard += 1;
    let tab = &mut world.tabs[id.0];
    let known = tab.unheard.remove(&number).is_some();
    if !tab.heard.insert(number) {
        world.fail(Invariant::Sum, format!("client {}: message {number} is heard twice", id.0));
    } else if !known {
        world.fail(Invariant::Sum, format!("client {}: message {number} is heard, and was not accepted", id.0));
    }
}

/// Once the weather was good for long enough.
///
/// # Errors
/// The first rule that does not hold.
pub(crate) fn settled(world: &mut World) -> Result<(), Violation> {
    for index in 0..world.tabs.len() {
        comes_back(world, index);
        sum(world, index);
        if !world.tabs[index].requests.is_empty() {
            let detail = format!("client {index}: {:?} never ended", world.tabs[index].requests);
            world.fail(Invariant::RequestEnds, detail);
        }
    }
    world.violation.take().map_or(Ok(()), Err)
}

fn comes_back(world: &mut World, index: usize) {
    let tab = &world.tabs[index];
    if tab.is_off() {
        if !tab.live.is_empty() {
            world.fail(Invariant::OneSocket, format!("client {index} is off and holds a socket"));
        }
        return;
    }
    let line = tab.live.first().and_then(|socket| world.lines.get(&(index, *socket))).filter(|line| line.open);
    let (ConnectionState::Connected, Some(line)) = (tab.state, line) else {
        let detail = format!("client {index} is still {}: {:?}", tab.state.as_str(), tab.client.last_disconnect());
        return world.fail(Invariant::ComesBack, detail);
    };
    let known: Vec<String> = tab.client.topics().to_vec();
    let agrees = known.len() == tab.wanted.len() && known.iter().all(|name| tab.wanted.contains(name));
    // A refusal that came too late for its request is not noted: the topic is asked for, and refused, again.
    let allowed = tab.wanted.iter().filter(|name| *name != DENIED);
    if !line.topics.iter().eq(allowed) || !agrees {
        let detail = format!("client {index} wants {:?}, has {known:?}, is sent {:?}", tab.wanted, line.topics);
        return world.fail(Invariant::Subscribed, detail);
    }
    complete(world, index);
}

fn complete(world: &mut World, index: usize) {
    for topic in RECOVERABLE.iter().filter(|topic| world.tabs[index].wanted.contains(**topic)) {
        let head = Stamp { epoch: world.history.epoch(), offset: world.history.head(topic) };
        let track = world.tabs[index].tracks.get(*topic).copied();
        if track != Some(Track { at: head, over: false }) {
            let detail = format!("client {index} stands at {track:?} of {topic}, which is at {head:?}");
            return world.fail(Invariant::Complete, detail);
        }
    }
}

/// Accepted = heard + lost with connections that broke after they were accepted.
fn sum(world: &mut World, index: usize) {
    let tab = &world.tabs[index];
    let unheard = tab.unheard.len() as u64;
    // A lost frame can be a batch, so the frames only say whether anything was lost at all.
    if tab.accepted != tab.heard.len() as u64 + unheard + tab.dropped
        || (unheard > 0 && tab.frames_lost == 0 && !tab.is_off())
    {
        let detail = format!(
            "client {index}: {} accepted, {} heard, {unheard} not, {} frames lost",
            tab.accepted,
            tab.heard.len(),
            tab.frames_lost
        );
        return world.fail(Invariant::Sum, detail);
    }
    if tab.is_off() {
        return; // what it accepted waits in its queue for the next connect()
    }
    let untouched = tab.unheard.iter().find(|(_, accepted)| tab.last_loss.is_none_or(|last| last < **accepted));
    if let Some((number, at)) = untouched {
        let detail = format!("client {index}: message {number} of {at:?} is not heard, and nothing was lost since");
        world.fail(Invariant::Sum, detail);
    }
}
