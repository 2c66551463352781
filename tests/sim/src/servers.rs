//! What the servers of a world do: subscriptions, recovery, fan-out.

use bytes::Bytes;
use wse_client_core::{
    client::{Outgoing, SubscriptionAction},
    delivery::TopicRecovery,
    error::Code,
    server::{self, SubscriptionRequest},
    wire::{self, Head, Message, Payload},
};

use crate::{
    history::{Publication, Stamp},
    invariants::{self, Invariant},
    line::{DOWN, LineId, UP},
    plan::{PLAIN, RECOVERABLE},
    world::{Due, World},
};

impl World {
    pub(crate) fn peer_input(&mut self, id: LineId, input: server::Input) {
        let Some(line) = self.lines.get_mut(&id).filter(|line| line.open) else { return };
        line.peer.handle(input, self.now);
        self.drain_peer(id);
    }

    pub(crate) fn drain_peer(&mut self, id: LineId) {
        loop {
            let Some(line) = self.lines.get_mut(&id) else { return };
            match line.peer.poll() {
                server::Output::Send(frame) => self.send_down(id, frame),
                server::Output::Close(close) => self.close_down(id, close),
                server::Output::Emit(event) => self.on_peer_event(id, event),
                server::Output::Wait(at) => {
                    line.deadline = at;
                    return;
                }
            }
        }
    }

    fn on_peer_event(&mut self, id: LineId, event: server::Event) {
        match event {
            server::Event::Subscribe(request) => self.subscribe_line(id, request, true),
            server::Event::Recover(request) => {
                let Some(line) = self.lines.get_mut(&id) else { return };
                if std::mem::take(&mut line.refuses_question) {
                    return line.peer.tell_error(
                        Code::RateLimited,
                        "too many questions",
                        request.id.as_deref(),
                        self.now,
                    );
                }
                self.subscribe_line(id, request, false);
            }
            server::Event::Unsubscribe(request) => {
                let Some(line) = self.lines.get_mut(&id) else { return };
                for name in &request.topics {
                    line.topics.remove(name);
                    line.baselines.insert(name.clone(), None);
                }
                let active: Vec<String> = line.topics.iter().cloned().collect();
                let action = SubscriptionAction::Unsubscribe;
                line.peer.answer_subscription(action, request, Vec::new(), &active, self.now);
            }
            server::Event::Publish(message) => {
                self.hear(id, &message);
                if let Some(name) = message.topic().map(str::to_owned) {
                    self.publish(&name);
                }
            }
            server::Event::Message(message) => self.hear(id, &message),
            server::Event::Closed(_) => self.retire(id),
            server::Event::Rejected(_) => {
                if let Some(line) = self.lines.get_mut(&id) {
                    line.carried[UP].refused += 1;
                }
            }
            server::Event::Hello { .. } => {}
            _ => {}
        }
    }

    fn hear(&mut self, id: LineId, message: &Message) {
        match number_of(message.payload()) {
            Some(number) => invariants::heard_once(self, id, number, message),
            None => self.fail_line(id, Invariant::NoForgery, "the server heard a message that nobody sent"),
        }
    }

    /// Answers a subscription or a question about a gap, and sends what is promised right after it.
    fn subscribe_line(&mut self, id: LineId, mut request: SubscriptionRequest, subscribes: bool) {
        let mut replay = Vec::new();
        for name in request.topics.clone().iter().filter(|name| RECOVERABLE.contains(&name.as_str())) {
            if request.recover {
                let answer = self.recovery(id, name, &request, &mut replay);
                request.recovery.insert(name.clone(), answer);
            }
            let from = self.served_from(name, &request);
            if let Some(line) = self.lines.get_mut(&id).filter(|_| subscribes) {
                line.baselines.entry(name.clone()).or_insert(Some(from));
            }
        }
        let Some(line) = self.lines.get_mut(&id) else { return };
        if subscribes {
            line.topics.extend(request.topics.iter().cloned());
        }
        let active: Vec<String> = line.topics.iter().cloned().collect();
        line.peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &active, self.now);
        // The answer goes out first: what was missed follows it.
        self.drain_peer(id);
        for publication in replay {
            self.deliver(id, &publication);
        }
    }

    /// Where a subscription begins: after the client's position, if it has one, and else with what comes next.
    fn served_from(&self, name: &str, request: &SubscriptionRequest) -> Stamp {
        let position = request.positions.get(name).filter(|_| request.recover);
        let known = position.and_then(|position| {
            let epoch = epoch_number(&position.epoch)?;
            Some(Stamp { epoch, offset: position.offset.map_or(0, |offset| offset + 1) })
        });
        known.unwrap_or(Stamp { epoch: self.history.epoch(), offset: self.history.head(name) })
    }

    fn recovery(
        &mut self,
        id: LineId,
        name: &str,
        request: &SubscriptionRequest,
        replay: &mut Vec<Publication>,
    ) -> TopicRecovery {
        let (epoch, head) = (self.history.epoch(), self.history.head(name));
        let mut answer = TopicRecovery {
            epoch: Some(epoch_text(epoch)),
            offset: head.checked_sub(1),
            recovered: Some(true),
            count: Some(0),
        };
        let Some(position) = request.positions.get(name) else { return answer };
        let same = position.epoch == epoch_text(epoch);
        let wanted = if same { position.offset.map_or(0, |offset| offset + 1) } else { 0 };
        let missed = self.history.since(name, wanted);
        let first = head - missed.len() as u64;
        answer.recovered = Some(same && first <= wanted);
        answer.count = Some(missed.len() as u64);
        if let Some(last) = first.checked_sub(1).filter(|_| first > wanted) {
            self.tabs[id.0].declared.add(name, epoch, wanted, last);
        }
        replay.extend(missed);
        answer
    }

    /// Publishes to everyone who listens, on every server.
    pub(crate) fn publish(&mut self, name: &str) {
        let publication = self.history.publish(name, RECOVERABLE.contains(&name));
        let listening = |(_, line): &(&LineId, &crate::line::Line)| line.open && line.topics.contains(name);
        let ids: Vec<LineId> = self.lines.iter().filter(listening).map(|(id, _)| *id).collect();
        for id in ids {
            self.deliver(id, &publication);
        }
    }

    pub(crate) fn publish_something(&mut self) {
        if self.quiet {
            return;
        }
        let all: Vec<&str> = RECOVERABLE.iter().chain(PLAIN).copied().collect();
        if let Some(name) = self.dice.pick(&all) {
            self.publish(name);
        }
        if self.dice.chance(20)
            && let Some(id) = self.some_line()
        {
            self.send_direct(id);
        }
        let pause = if self.calm { self.dice.millis(500, 4_000) } else { self.dice.millis(20, 600) };
        self.after(pause, Due::Publish);
    }

    pub(crate) fn publish_everywhere(&mut self) {
        for name in RECOVERABLE.iter().chain(PLAIN) {
            self.publish(name);
        }
    }

    pub(crate) fn deliver(&mut self, id: LineId, publication: &Publication) {
        let Some(line) = self.lines.get_mut(&id).filter(|line| line.open) else { return };
        if line.peer.must_hold_messages() {
            return;
        }
        let delivery = line.peer.delivery();
        let compression = delivery.compression.then(wire::Compression::default);
        let (message_id, epoch) = (format!("m{}", publication.number), self.history.epoch());
        let epoch = publication.stamp.map(|_| epoch_text(epoch));
        let head = Head {
            kind: "update",
            id: Some(&message_id),
            topic: Some(&publication.topic),
            epoch: epoch.as_deref(),
            offset: publication.stamp.map(|stamp| stamp.offset),
            ..Head::default()
        };
        let mut frame = wire::encode(&head, &publication.payload(), delivery.encoding, compression.as_ref());
        if delivery.encrypted {
            frame = line.peer.seal(frame.bytes()).expect("a key was agreed, and its nonces last");
        }
        if publication.stamp.is_none() {
            line.plain.sent += 1;
        }
        self.send_down(id, frame);
    }

    /// Sends a message to one client alone.
    pub(crate) fn send_direct(&mut self, id: LineId) {
        self.numbers += 1;
        let message = Outgoing::new("direct", numbered(self.numbers));
        let Some(line) = self.lines.get_mut(&id).filter(|line| line.open && !line.peer.must_hold_messages()) else {
            return;
        };
        if line.peer.send(&message, self.now).is_ok() {
            line.carried[DOWN].sent += 1;
        }
        self.drain_peer(id);
    }
}

/// An epoch as it is written on the wire.
pub(crate) fn epoch_text(epoch: u64) -> String {
    format!("e{epoch}")
}

/// The number of an epoch on the wire.
pub(crate) fn epoch_number(text: &str) -> Option<u64> {
    text.strip_prefix('e')?.parse().ok()
}

/// A payload that carries a number.
pub(crate) fn numbered(number: u64) -> Payload {
    Payload::from_json(Bytes::from(format!("{{\"n\":{number}}}"))).expect("valid JSON")
}

/// The number in a payload.
pub(crate) fn number_of(payload: &Payload) -> Option<u64> {
    payload.parse::<serde_json::Value>().ok()?.get("n")?.as_u64()
}
