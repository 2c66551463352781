//! What goes to the server.

use serde::Serialize;

use crate::{
    channel::check_outgoing,
    io::Frame,
    time::Moment,
    wire::{Head, Payload},
};

use super::{Action, Client, Outgoing, Output, SendError, connect::Phase};

impl Client {
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    pub(super) fn send_message(&mut self, message: &Outgoing, now: Moment) -> Result<String, SendError> {
        check_outgoing(message, &self.config.limits)?;
        let id = message.id.clone().unwrap_or_else(|| self.rng.message_id(self.wall.at(now)));
        let wall = self.wall.at(now);
        let ready = self.is_ready();
        let Some(link) = self.link.as_mut().filter(|_| ready) else {
            return Err(SendError::NotConnected { state: self.state });
        };
        let frame = match link.channel.application(message, &id, wall) {
            Ok(frame) => frame,
            Err(code) => {
                self.drop_link(code, "the key of this connection is used up", now);
                return Err(SendError::NotConnected { state: self.state });
            }
        };
        let limit = self.config.limits.max_frame;
        if frame.len() > limit {
            return Err(SendError::TooLarge { size: frame.len(), limit });
        }
        link.channel.advance();
        self.metrics.messages_sent += 1;
        self.write(frame);
        Ok(id)
    }

    /// Sends a message of the protocol itself and gives its id.
    pub(super) fn send_control<T: Serialize>(&mut self, kind: &str, payload: &T, now: Moment) -> String {
        let id = self.rng.message_id(self.wall.at(now));
        let timestamp = self.wall.at(now).to_string();
        let payload = Payload::new(payload).expect("control payloads are plain structs");
        let head = Head { kind, id: Some(&id), timestamp: Some(&timestamp), ..Head::default() };
        if let Some(link) = &mut self.link {
            match link.channel.control(&head, &payload) {
                Ok(frame) => self.write(frame),
                Err(code) => self.drop_link(code, "the key of this connection is used up", now),
            }
        }
        id
    }

    fn write(&mut self, frame: Frame) {
        if let Some(link) = &self.link {
            self.metrics.bytes_sent += frame.len() as u64;
            self.outputs.push_back(Output::Act(Action::Send { socket: link.socket, frame }));
        }
    }
}
