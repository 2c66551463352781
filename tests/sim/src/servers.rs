//! What the servers of a world do: subscriptions, recovery, fan-out.

use bytes::Bytes;
use wse_client_core::{
    client::{Outgoing, SubscriptionAction},
    delivery::TopicRecovery,
    error::Code,
    server::{self, SubscriptionRequest},
    topic,
    wire::{self, Head, Message, Payload},
};

use crate::{
    history::{Publication, Stamp},
    invariants::{self, Invariant},
    line::{DOWN, Line, LineId, UP},
    plan::{PLAIN, RECOVERABLE},
    world::{Due, World},
};

impl World {
    /// One connection, after its peer was told what the server's civil clock shows: a driver does so before all that it
    /// hands in.
    pub(crate) fn told_line(&mut self, id: LineId) -> Option<&mut Line> {
        let line = self.lines.get_mut(&id)?;
        line.peer.set_clock(self.clocks[line.host].at(self.now), self.now);
        Some(line)
    }

    pub(crate) fn peer_input(&mut self, id: LineId, input: server::Input) {
        let now = self.now;
        let Some(line) = self.told_line(id).filter(|line| line.open) else { return };
        line.peer.handle(input, now);
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
                    return invariants::memory_of_line(self, id);
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
                    let concerned = RECOVERABLE.iter().filter(|topic| topic::matches(name, topic));
                    line.baselines.extend(concerned.map(|topic| ((*topic).to_owned(), None)));
                }
                let active: Vec<String> = line.topics.iter().cloned().collect();
                let action = SubscriptionAction::Unsubscribe;
                line.peer.answer_subscription(action, request, Vec::new(), &active, self.now);
            }
            server::Event::Publish(message) => {
                self.hear(id, &message);
                if let Some(name) = message.topic().map(str::to_owned) {
                    // Once all is written that this connection has to say: frames go out as they were sealed.
                    self.schedule(self.now, Due::Passed(name));
                }
            }
            server::Event::Message(message) => self.hear(id, &message),
            server::Event::Closed(_) => self.retire(id),
            server::Event::Rejected(error) => invariants::frame_refused(self, id, UP, &error),
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

    /// Takes up a subscription or a question about a gap. What comes live goes out from here on; the history is looked
    /// up, which may take a while.
    fn subscribe_line(&mut self, id: LineId, request: SubscriptionRequest, subscribes: bool) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if subscribes {
            line.topics.extend(request.topics.iter().cloned());
        }
        let longest = if self.calm { 0 } else { self.plan.lookup_ms };
        let pause = self.dice.millis(0, longest);
        if pause.is_zero() {
            self.answer_line(id, request, subscribes);
        } else {
            self.after(pause, Due::Answer(id, request, subscribes));
        }
    }

    /// Answers, and sends what is promised right after it.
    pub(crate) fn answer_line(&mut self, id: LineId, mut request: SubscriptionRequest, subscribes: bool) {
        let mut replay = Vec::new();
        let Some(host) = self.lines.get(&id).filter(|line| line.open).map(|line| line.host) else { return };
        // Each exact topic, and each position that a pattern has brought.
        let named = |name: &&str| request.topics.iter().any(|topic| topic == *name);
        let met = |name: &&str| request.positions.contains_key(*name);
        let names: Vec<&str> = RECOVERABLE.iter().copied().filter(|name| named(name) || met(name)).collect();
        for name in names {
            if request.recover {
                let answer = self.recovery(id, name, &request, &mut replay);
                request.recovery.insert(name.to_owned(), answer);
            }
            let from = self.served_from(host, name, &request);
            if let Some(line) = self.lines.get_mut(&id).filter(|_| subscribes) {
                line.baselines.entry(name.to_owned()).or_insert(Some(from));
            }
        }
        let now = self.now;
        let Some(line) = self.told_line(id) else { return };
        let active: Vec<String> = line.topics.iter().cloned().collect();
        line.peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &active, now);
        // The answer goes out first: what was missed follows it.
        self.drain_peer(id);
        for publication in replay {
            self.deliver(id, &publication);
        }
    }

    /// Where a subscription begins: after the client's position, if it has one, and else with what comes next.
    fn served_from(&self, host: usize, name: &str, request: &SubscriptionRequest) -> Stamp {
        let position = request.positions.get(name).filter(|_| request.recover);
        let known = position.and_then(|position| {
            let epoch = epoch_number(&position.epoch)?;
            Some(Stamp { epoch, offset: position.offset.map_or(0, |offset| offset + 1) })
        });
        known.unwrap_or(Stamp { epoch: self.history.epoch(), offset: self.head_at(host, name) })
    }

    /// The offset of the next publication that comes to this server.
    fn head_at(&self, host: usize, name: &str) -> u64 {
        self.buses[host].heads.get(name).copied().unwrap_or(0)
    }

    fn recovery(
        &mut self,
        id: LineId,
        name: &str,
        request: &SubscriptionRequest,
        replay: &mut Vec<Publication>,
    ) -> TopicRecovery {
        let host = self.lines.get(&id).map_or(0, |line| line.host);
        let (epoch, head) = (self.history.epoch(), self.head_at(host, name));
        let mut answer = TopicRecovery {
            epoch: Some(epoch_text(epoch)),
            offset: head.checked_sub(1),
            recovered: Some(true),
            count: Some(0),
        };
        let Some(position) = request.positions.get(name) else { return answer };
        let same = position.epoch == epoch_text(epoch);
        let wanted = if same { position.offset.map_or(0, |offset| offset + 1) } else { 0 };
        let missed = self.history.between(name, wanted..head);
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
        self.put_on_the_bus(&publication);
    }

    pub(crate) fn put_on_the_bus(&mut self, publication: &Publication) {
        for host in 0..self.buses.len() {
            let bus = &mut self.buses[host];
            let at = (self.now + bus.delay).max(bus.last_arrival);
            bus.last_arrival = at;
            if at <= self.now {
                self.fan_out(host, publication);
            } else {
                self.schedule(at, Due::Bus(host, publication.clone()));
            }
        }
    }

    /// A publication is there: it goes to everyone who listens at this server.
    pub(crate) fn fan_out(&mut self, host: usize, publication: &Publication) {
        let name = publication.topic.as_str();
        if let Some(stamp) = publication.stamp {
            if stamp.epoch != self.history.epoch() {
                return; // it was under way when the history was lost
            }
            self.buses[host].heads.insert(name.to_owned(), stamp.offset + 1);
        }
        let listening = |(_, line): &(&LineId, &Line)| line.open && line.host == host && line.listens(name);
        let ids: Vec<LineId> = self.lines.iter().filter(listening).map(|(id, _)| *id).collect();
        for id in ids {
            let skipped = self.lines.get_mut(&id).and_then(|line| line.skips.take_if(|skip| skip == name));
            match skipped {
                Some(_) => self.miss(id, publication),
                None => self.deliver(id, publication),
            }
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
        let message_id = format!("m{}", publication.number);
        let epoch = publication.stamp.map(|stamp| epoch_text(stamp.epoch));
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
            line.plain.push(publication.number);
        }
        self.send_down(id, frame);
    }

    /// Sends a message to one client alone.
    pub(crate) fn send_direct(&mut self, id: LineId) {
        self.numbers += 1;
        let message = Outgoing::new("direct", numbered(self.numbers));
        let now = self.now;
        let Some(line) = self.told_line(id).filter(|line| line.open && !line.peer.must_hold_messages()) else {
            return;
        };
        if line.peer.send(&message, now).is_ok() {
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
