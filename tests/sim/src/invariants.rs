//! What must be true, whatever the weather. Each rule stands here once; the world calls it where it can be broken.

use std::fmt;

use wse_client_core::{
    client::{ConnectionState, DropReason, RequestId, SendError, SubscriptionAction, SubscriptionOutcome},
    delivery::LostRange,
    io::{Frame, SocketId},
    time::Moment,
    topic,
    wire::{Category, DecodeError, Message, Priority},
};

use crate::{
    history::Stamp,
    ledger::{Carried, Fate, Ledger, is_by_queue, may_drop},
    line::{DOWN, LineId, UP},
    plan::{DENIED, PATTERNS, PLAIN, RECOVERABLE},
    servers::{epoch_number, number_of},
    tab::Track,
    world::{Delivery, World},
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
    /// Publications of a topic without history never come twice, or out of order on one connection.
    PlainOrder,
    /// After the first sealed frame of a direction everything in it is sealed, and an application that asked for
    /// encryption is never connected without it.
    NoPlaintext,
    /// No nonce is used twice with one key.
    NonceOnce,
    /// What nobody sent, or came on a socket that is no more, is not heard.
    NoForgery,
    /// A frame is refused only on a connection where one was forged, damaged or repeated.
    NoFalseAlarm,
    /// Each attempt carries the last token that was set.
    FreshToken,
    /// Accepted = heard + dropped by a named policy + waiting + in flight or gone down with a connection that broke; in
    /// both directions, by the client's own counters too. Nothing is heard twice, and each priority keeps its order.
    Sum,
    /// Every request of the application ends once.
    RequestEnds,
    /// States change as they are told, and only a client that may fail fails.
    StateTold,
    /// What either end holds keeps the bounds that are named for it.
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
            Self::NoFalseAlarm => "no-false-alarm",
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
    if world.plan.dialects[line.host].is_published() {
        return; // such an answer may end the wrong request: only some of them say which one they are for
    }
    for name in topics {
        let tab = &mut world.tabs[index];
        if let (Some(Some(stamp)), true) = (line.baselines.get(name), tab.wants(name)) {
            tab.tracks.entry(name.clone()).or_insert(Track { at: *stamp, over: false });
        }
    }
}

/// A typed request of the application came to its end.
pub(crate) fn question_ended(world: &mut World, index: usize, request: RequestId) {
    if !world.tabs[index].requests.remove(&request) {
        world.fail(Invariant::RequestEnds, format!("client {index}: {request:?} ended twice"));
    }
}

/// An application received a message.
pub(crate) fn delivered(world: &mut World, index: usize, message: &Message) {
    world.tabs[index].ledger.received += 1;
    let truth: serde_json::Value = message.payload().parse().unwrap_or_default();
    if message.category() == Some(Category::System) {
        return; // an answer that came too late for its question
    }
    if message.kind() == "direct" {
        return heard_directly(world, index, number_of(message.payload()), message);
    }
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
    if world.tabs[index].wants(topic) {
        next_of_topic(world, index, topic, Stamp { epoch, offset });
    }
}

/// A message of a server to this client alone came.
fn heard_directly(world: &mut World, index: usize, number: Option<u64>, message: &Message) {
    let (tab, number) = (&mut world.tabs[index], number.unwrap_or(0));
    let last = std::mem::replace(&mut tab.last_direct, number);
    let id = (index, tab.hearing.unwrap_or(SocketId(0)));
    if number <= last {
        return world.fail(Invariant::Sum, format!("client {index}: the server's message {number} comes after {last}"));
    }
    next_of_line(world, id, DOWN, message);
}

fn plain_order(world: &mut World, index: usize, topic: &str, number: u64) {
    let id = (index, world.tabs[index].hearing.unwrap_or(SocketId(0)));
    let last = world.lines.get_mut(&id).and_then(|line| line.last_plain.insert(topic.to_owned(), number));
    let again = !world.tabs[index].heard_plain.insert(number);
    if again || last.is_some_and(|last| last >= number) {
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
    if !world.tabs[index].wants(topic) {
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
    let tab = &mut world.tabs[index];
    tab.ledger.lost += range.count().unwrap_or(0);
    let declared = match range.to {
        None => epoch < world.history.epoch(),
        Some(to) => to >= range.from && tab.declared.covers(topic, epoch, range.from, to),
    };
    if !declared {
        let detail =
            format!("client {index}: {topic} {range:?} is told to be lost, and no server said so of all of it");
        world.fail(Invariant::LostIsTrue, detail);
    }
}

/// One end refused a frame of this direction, and told.
pub(crate) fn frame_refused(world: &mut World, id: LineId, direction: usize, error: &DecodeError) {
    let Some(line) = world.lines.get_mut(&id) else { return };
    line.carried[direction].refused += 1;
    if !line.spoilt[direction] {
        world.fail_line(id, Invariant::NoFalseAlarm, &format!("a sound frame is refused: {error:?}"));
    }
}

/// A server heard a message of an application.
pub(crate) fn heard_once(world: &mut World, id: LineId, number: u64, message: &Message) {
    world.report.heard += 1;
    let ledger = &mut world.tabs[id.0].ledger;
    let Some(entry) = ledger.messages.get_mut(&number) else {
        return world.fail_line(id, Invariant::Sum, &format!("message {number} is heard, and was not accepted"));
    };
    let (fate, level) = (entry.fate, entry.priority as usize);
    entry.fate = Fate::Heard;
    ledger.heard += 1;
    let Some(line) = world.lines.get_mut(&id) else { return };
    let last = std::mem::replace(&mut line.last_of[level], number);
    if fate != Fate::Open {
        world.fail_line(id, Invariant::Sum, &format!("message {number} is heard, and was {fate:?} before"));
    } else if last > number {
        let detail = format!("message {number} is heard after {last} of the same priority");
        world.fail_line(id, Invariant::Sum, &detail);
    } else {
        next_of_line(world, id, UP, message);
    }
}

/// Messages of one connection are numbered without a gap, unless a frame was refused, and told to be.
fn next_of_line(world: &mut World, id: LineId, direction: usize, message: &Message) {
    let Some(line) = world.lines.get_mut(&id) else { return };
    let carried = &mut line.carried[direction];
    let (due, said) = (carried.due, message.sequence());
    carried.heard += 1;
    carried.due = said.map_or(due, |said| said + 1);
    let is_next = said == Some(due) || (carried.refused > 0 && said > Some(due));
    if !is_next {
        world.fail_line(id, Invariant::Sum, &format!("a message with seq {said:?} comes, {due} is due"));
    }
}

/// The client told that it dropped a message.
pub(crate) fn dropped_by_a_rule(world: &mut World, index: usize, id: &str, priority: Priority, reason: DropReason) {
    let tab = &mut world.tabs[index];
    let (settings, now) = (&world.plan.clients[index], tab.local(world.now));
    let ledger = &mut tab.ledger;
    ledger.dropped += 1;
    ledger.dropped_of[priority as usize] += 1;
    // A message can be dropped before `send` has given its id, but not for a reason that is true then.
    let Some(entry) = ledger.ids.remove(id).and_then(|number| ledger.messages.get_mut(&number)) else {
        return world.fail(Invariant::Sum, format!("client {index}: {id} is dropped, and was not accepted"));
    };
    let (fate, at) = (entry.fate, entry.at);
    entry.fate = Fate::Dropped;
    let is_true = match reason {
        DropReason::Expired => now.since(at) >= settings.offline.max_age,
        DropReason::Disconnected => !settings.offline.enabled,
        DropReason::Closed => tab.closing,
        _ => true,
    };
    if fate != Fate::Open || priority != entry.priority || !is_true || !may_drop(reason, priority) {
        let detail = format!("client {index}: {id} ({priority:?}, {fate:?}, of {at:?}) is dropped as {reason:?}");
        world.fail(Invariant::Sum, detail);
    }
}

/// The client did not accept a message.
pub(crate) fn refused_by_a_rule(world: &mut World, index: usize, priority: Priority, error: &SendError) {
    let (tab, settings) = (&mut world.tabs[index], &world.plan.clients[index]);
    tab.ledger.refused += 1;
    tab.ledger.refused_of[priority as usize] += u64::from(is_by_queue(error));
    let held = tab.client.held();
    let state = tab.client.state();
    let is_true = match error {
        SendError::QueueFull { .. } => {
            held.waiting == settings.offline.max_size || held.waiting_bytes + LARGEST > settings.offline.max_bytes
        }
        SendError::NotConnected { .. } => {
            state != ConnectionState::Connected && (tab.is_off() || !settings.offline.enabled)
        }
        _ => false,
    };
    if !is_true {
        let detail = format!("client {index}, {}, holds {held:?}, and refuses a message: {error}", state.as_str());
        world.fail(Invariant::Sum, detail);
    }
}

/// More than any message of this world counts for in a queue.
const LARGEST: usize = 300;

/// Each time that a client has said all that it has to say.
pub(crate) fn after_input(world: &mut World, index: usize) {
    let tab = &mut world.tabs[index];
    let metrics = tab.client.metrics(tab.local(world.now));
    let ledger = &mut tab.ledger;
    let sent = metrics.messages_sent - std::mem::replace(&mut ledger.sent, metrics.messages_sent);
    if let Some(line) = tab.wrote_to.filter(|_| sent > 0).and_then(|socket| world.lines.get_mut(&(index, socket))) {
        line.carried[UP].sent += sent;
    }
    let queue = &metrics.queue;
    let levels = [&queue.background, &queue.low, &queue.normal, &queue.high, &queue.critical];
    let ledger = &world.tabs[index].ledger;
    let balanced = ledger.accepted == metrics.messages_sent + ledger.dropped + queue.waiting
        && levels.map(|level| level.dropped) == ledger.dropped_of
        && levels.map(|level| level.refused) == ledger.refused_of
        && levels.iter().all(|level| level.queued >= level.sent + level.dropped)
        && levels.iter().map(|level| level.queued - level.sent - level.dropped).sum::<u64>() == queue.waiting
        && metrics.messages_accepted == ledger.accepted
        && metrics.messages_dropped == ledger.dropped
        && metrics.messages_refused == ledger.refused
        && metrics.messages_received == ledger.received
        && metrics.messages_lost >= ledger.lost;
    if !balanced {
        let detail = format!("client {index}: {} do not agree with {metrics:?}", Books(ledger));
        world.fail(Invariant::Sum, detail);
    }
    memory(world, index);
}

/// What is shown of a ledger.
struct Books<'a>(&'a Ledger);

impl fmt::Display for Books<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ledger { accepted, heard, dropped, dropped_of, refused_of, received, lost, .. } = self.0;
        write!(f, "accepted {accepted}, heard {heard}, dropped {dropped} {dropped_of:?}, ")?;
        write!(f, "refused {refused_of:?}, received {received}, lost {lost}")
    }
}

/// What a client holds keeps the bounds of its settings.
fn memory(world: &mut World, index: usize) {
    let held = world.tabs[index].client.held();
    let settings = &world.plan.clients[index];
    let topics = settings.limits.max_topics;
    let bounded = held.waiting <= settings.offline.max_size
        && held.waiting_bytes <= settings.offline.max_bytes
        && held.outputs == 0
        && held.topics <= ALL_TOPICS
        && held.presence_bytes == 0
        && held.topic_tokens == 0
        && held.subscriptions <= topics + 1
        && held.requests <= MAX_QUESTIONS
        && held.positions <= RECOVERABLE.len()
        && held.gaps <= held.positions
        && held.ids <= settings.delivery.dedup_window
        && held.reordering <= settings.delivery.reorder.map_or(0, |reorder| reorder.max_held)
        && held.sealed_nonces <= COUNTING
        && held.signed_nonces <= MAX_SIGNED;
    if !bounded {
        world.fail(Invariant::Memory, format!("client {index} holds {held:?}"));
    }
}

/// What a server's end of a connection holds keeps its bounds.
pub(crate) fn memory_of_line(world: &mut World, id: LineId) {
    let Some(line) = world.lines.get(&id) else { return };
    let held = line.peer.held();
    if held.outputs > 0 || held.sealed_nonces > COUNTING || held.signed_nonces > MAX_SIGNED {
        world.fail_line(id, Invariant::Memory, &format!("the server's end holds {held:?}"));
    }
}

/// Both ends of this world count their nonces: of each key the last one is remembered, and until there are two of a
/// key it is too early to tell.
const COUNTING: usize = 2;

/// Nonces of signatures that either end remembers.
const MAX_SIGNED: usize = 10_000;

/// Topics and patterns that an application can want here.
const ALL_TOPICS: usize = RECOVERABLE.len() + PLAIN.len() + PATTERNS.len() + 1;

/// Typed requests that a client allows at once.
const MAX_QUESTIONS: usize = 64;

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
    // A published server is asked about a gap by a subscription, also where only a pattern wants the topic.
    let published = world.plan.dialects[line.host].is_published();
    let met = |name: &str| tab.wanted.iter().any(|wanted| topic::is_pattern(wanted) && topic::matches(wanted, name));
    let asked_about = |name: &String| published && !tab.wanted.contains(name) && met(name);
    if !line.topics.iter().filter(|name| !asked_about(name)).eq(allowed) || !agrees {
        let detail = format!("client {index} wants {:?}, has {known:?}, is sent {:?}", tab.wanted, line.topics);
        return world.fail(Invariant::Subscribed, detail);
    }
    complete(world, index);
}

fn complete(world: &mut World, index: usize) {
    for topic in RECOVERABLE.iter().filter(|topic| world.tabs[index].wants(topic)) {
        let head = Stamp { epoch: world.history.epoch(), offset: world.history.head(topic) };
        let track = world.tabs[index].tracks.get(*topic).copied();
        if track != Some(Track { at: head, over: false }) {
            let detail = format!("client {index} stands at {track:?} of {topic}, which is at {head:?}");
            return world.fail(Invariant::Complete, detail);
        }
    }
}

/// Accepted = heard + dropped + waiting + went down with connections that broke; and what a connection carried came
/// out at its other end, unless it broke or a frame was refused, and told to be.
fn sum(world: &mut World, index: usize) {
    let tab = &world.tabs[index];
    for (socket, _) in tab.inbox.iter().filter(|(_, delivery)| matches!(delivery, Delivery::Frame(_))) {
        // It closed the connection without looking at what had come.
        if let Some(line) = world.lines.get_mut(&(index, *socket)) {
            line.broken[DOWN] = true;
        }
    }
    let held = tab.client.held();
    let waiting = held.waiting as u64;
    let here = world.lines.iter().filter(|((tab, _), _)| *tab == index);
    let mut under_way = 0;
    for (id, line) in here {
        let Carried { sent, heard, .. } = line.carried[UP];
        under_way += sent.saturating_sub(heard);
        let whole = |direction: usize, carried: &Carried| {
            carried.sent == carried.heard
                || (carried.sent > carried.heard && (line.broken[direction] || line.carried[direction].refused > 0))
        };
        // On another connection it may have been heard before.
        let missed = line.plain.iter().find(|number| !tab.heard_plain.contains(number));
        let missed = missed.filter(|_| !line.broken[DOWN] && line.carried[DOWN].refused == 0);
        if !whole(UP, &line.carried[UP]) || !whole(DOWN, &line.carried[DOWN]) || missed.is_some() {
            let detail = format!(
                "client {index} socket {}: {:?} up, {:?} down, publication {missed:?} missed, and nothing was lost",
                id.1.0, line.carried[UP], line.carried[DOWN]
            );
            return world.fail(Invariant::Sum, detail);
        }
    }
    let ledger = &tab.ledger;
    if ledger.accepted != ledger.heard + ledger.dropped + waiting + under_way {
        let detail = format!("client {index}: {}, {waiting} wait, {under_way} lost with connections", Books(ledger));
        return world.fail(Invariant::Sum, detail);
    }
    if !tab.is_off() && (waiting > 0 || held.gaps > 0 || held.requests > 0 || held.reordering > 0) {
        world.fail(Invariant::Sum, format!("client {index} is well, and still holds {held:?}"));
    }
}
