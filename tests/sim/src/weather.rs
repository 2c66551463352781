//! What goes wrong, and when it stops.

use std::time::Duration;

use bytes::Bytes;
use wse_client_core::{
    client::Input,
    delivery::LostRange,
    error::{Code, close},
    io::{Close, Frame},
};

use crate::{
    civil::Civil,
    history::Publication,
    line::{DOWN, LineId, UP},
    plan::RECOVERABLE,
    servers::epoch_text,
    world::{Delivery, Due, Host, World},
};

/// What nobody sent: whoever hears it was deceived.
const FORGED: &[u8] = br#"U{"t":"update","p":{"forged":true},"v":1}"#;

impl World {
    /// One more thing goes wrong.
    pub(crate) fn turn_weather(&mut self) {
        if self.calm {
            return;
        }
        let pause = self.dice.millis(50, self.plan.calm_ms);
        self.after(pause, Due::Weather);
        let Some(id) = self.some_line() else { return self.trouble_a_host() };
        match self.dice.below(20) {
            0 | 1 => self.cut(id),
            2 => self.kill(id, [true, true]),
            3 => self.kill(id, [true, false]),
            4 => self.kill(id, [false, true]),
            5 => self.delay(id),
            6 => self.damage(id),
            7 => self.forge(id),
            8 => self.repeat(id),
            9 => self.ghost(id.0),
            10 => self.drop_one(id),
            11 => self.close_line(id),
            12 => self.revoke(id.0),
            13 => self.burst(),
            14 => self.delay_a_bus(),
            15 => self.rotate(id),
            16 => self.set_a_clock(),
            _ => self.trouble_a_host(),
        }
    }

    pub(crate) fn some_line(&mut self) -> Option<LineId> {
        let open: Vec<LineId> = self.lines.iter().filter(|(_, line)| line.open).map(|(id, _)| *id).collect();
        self.dice.pick(&open)
    }

    /// The network swallows everything in these directions, and tells nobody.
    fn kill(&mut self, id: LineId, directions: [bool; 2]) {
        self.trace.note(self.now, format_args!("-- dead {directions:?} {}/{}", id.0, id.1.0));
        if let Some(line) = self.lines.get_mut(&id) {
            line.dead = [line.dead[UP] || directions[UP], line.dead[DOWN] || directions[DOWN]];
        }
    }

    fn delay(&mut self, id: LineId) {
        let delay = self.dice.millis(0, 2_000);
        if let Some(line) = self.lines.get_mut(&id) {
            line.delay = delay;
        }
    }

    /// The next frame is damaged; then, as with TLS, the connection does not live long.
    fn damage(&mut self, id: LineId) {
        let direction = if self.dice.chance(50) { UP } else { DOWN };
        if self.taint(id) {
            self.trace.note(self.now, format_args!("-- damage in direction {direction} of {}/{}", id.0, id.1.0));
            if let Some(line) = self.lines.get_mut(&id) {
                line.damage = Some(direction);
                line.spoilt[direction] = true;
            }
            // What comes right behind it finds a gap in the numbers.
            if direction == DOWN && self.dice.chance(50) {
                for _ in 0..2 + self.dice.below(20) {
                    self.send_direct(id);
                }
            }
        }
    }

    /// Plaintext is put into an encrypted connection.
    fn forge(&mut self, id: LineId) {
        let encrypted = self.lines.get(&id).is_some_and(|line| line.sealed == [true, true]);
        if !encrypted || !self.taint(id) {
            return;
        }
        self.trace.note(self.now, format_args!("-- forge on {}/{}", id.0, id.1.0));
        let frame = Frame::Binary(Bytes::from_static(FORGED));
        if let Some(line) = self.lines.get_mut(&id) {
            line.spoilt = [true; 2];
        }
        if self.dice.chance(50) {
            self.reach_tab(id.0, id.1, Delivery::Frame(frame));
        } else {
            self.reach_peer(id, frame);
        }
    }

    /// The last frame comes once more.
    fn repeat(&mut self, id: LineId) {
        let last = self
            .lines
            .get(&id)
            .filter(|line| !line.dead[DOWN] && !line.tainted)
            .and_then(|line| line.recent.last().cloned());
        // Only publications: a second hello means something.
        let Some(frame) = last.filter(is_publication) else { return };
        self.trace.note(self.now, format_args!("-- repeat on {}/{}", id.0, id.1.0));
        if let Some(line) = self.lines.get_mut(&id) {
            line.spoilt[DOWN] = true;
        }
        let at = self.now + Duration::from_secs(5);
        self.schedule(at, Due::ToTab(id.0, id.1, Delivery::Frame(frame)));
    }

    /// Callbacks of a socket that is no more: its frames, a forged one, and everything that can be told of it.
    fn ghost(&mut self, index: usize) {
        let live = self.tabs[index].live.clone();
        let gone = |ghost: &&crate::tab::Ghost| !live.contains(&ghost.socket);
        let Some(ghost) = self.tabs[index].ghosts.iter().rev().find(gone) else { return };
        let (socket, frames) = (ghost.socket, ghost.frames.clone());
        if self.tabs[index].frozen {
            return;
        }
        self.trace.note(self.now, format_args!("-- ghost {index}/{}", socket.0));
        for frame in frames {
            self.tab_input(index, Input::Frame(socket, frame));
        }
        self.tab_input(index, Input::Frame(socket, Frame::Binary(Bytes::from_static(FORGED))));
        match self.dice.below(3) {
            0 => self.tab_input(index, Input::Opened(socket)),
            1 => self.tab_input(index, Input::Closed(socket, Close::new(close::FORBIDDEN, "late"))),
            _ => {
                let fault = wse_client_core::client::Fault { http_status: Some(401), detail: "late".into() };
                self.tab_input(index, Input::Failed(socket, fault));
            }
        }
    }

    /// The server forgets one publication for this connection, or drops it and says so.
    fn drop_one(&mut self, id: LineId) {
        let Some(line) = self.lines.get(&id).filter(|line| !line.tainted) else { return };
        let names: Vec<&str> = RECOVERABLE.iter().copied().filter(|name| line.listens(name)).collect();
        let Some(name) = self.dice.pick(&names) else { return };
        let refuses = self.dice.chance(30);
        if let Some(line) = self.lines.get_mut(&id) {
            line.skips = Some(name.to_owned());
            line.refuses_question = refuses;
        }
        self.publish(name);
    }

    /// What becomes of a publication that is not sent on a connection.
    pub(crate) fn miss(&mut self, id: LineId, publication: &Publication) {
        let name = &publication.topic;
        let (Some(stamp), true) = (publication.stamp, self.dice.chance(50)) else {
            return self.trace.note(self.now, format_args!("-- {}/{} misses one of {name}", id.0, id.1.0));
        };
        self.tabs[id.0].declared.add(name, stamp.epoch, stamp.offset, stamp.offset);
        let range = LostRange { epoch: epoch_text(stamp.epoch), from: stamp.offset, to: Some(stamp.offset) };
        let now = self.now;
        if let Some(line) = self.told_line(id) {
            line.peer.tell_lost_range(name, &range, now);
        }
        self.drain_peer(id);
    }

    fn close_line(&mut self, id: LineId) {
        let close = match self.dice.below(8) {
            0 => Close::new(close::DRAINING, "draining"),
            1 => Close::new(close::RATE_LIMITED, "slow down"),
            2 => Close::new(close::AUTH, "expired"),
            3 => Close::new(close::RESTART, "restart"),
            4 => Close::new(close::SERVER_ERROR, "oops"),
            5 => Close::new(4999, "unknown"),
            6 if self.dice.chance(20) => {
                self.tabs[id.0].may_fail = true;
                Close::new(close::FORBIDDEN, "not you")
            }
            _ => Close::normal(),
        };
        self.trace.note(self.now, format_args!("-- server closes {}/{} {close:?}", id.0, id.1.0));
        let now = self.now;
        if let Some(line) = self.told_line(id) {
            line.peer.tell_error(Code::RateLimited, "too many messages", None, now);
            line.peer.close(close, now);
        }
        self.drain_peer(id);
    }

    /// From now on the servers want a newer token of this client.
    fn revoke(&mut self, index: usize) {
        self.tabs[index].required = self.tabs[index].token + 1;
        self.trace.note(self.now, format_args!("-- revoke the token of {index}"));
    }

    fn delay_a_bus(&mut self) {
        let host = self.dice.below(self.buses.len());
        self.buses[host].delay = self.dice.millis(0, self.plan.bus_ms);
        self.trace.note(self.now, format_args!("-- the bus to server {host} takes {:?}", self.buses[host].delay));
    }

    /// Somebody sets the civil clock of a server.
    fn set_a_clock(&mut self) {
        let host = self.dice.below(self.clocks.len());
        self.clocks[host] = Civil::draw(&mut self.dice);
        self.trace.note(self.now, format_args!("-- the clock of server {host} is set: {:?}", self.clocks[host]));
    }

    /// The server renews the keys of a connection, if it has some.
    fn rotate(&mut self, id: LineId) {
        let now = self.now;
        if let Some(line) = self.told_line(id)
            && line.peer.rotate_keys(now).is_ok()
        {
            self.drain_peer(id);
        }
    }

    fn burst(&mut self) {
        for _ in 0..self.dice.below(80) {
            self.publish("t0");
        }
    }

    fn trouble_a_host(&mut self) {
        let host = self.dice.below(self.hosts.len());
        let trouble = self.dice.below(6);
        self.trace.note(self.now, format_args!("-- trouble {trouble} at server {host}"));
        match trouble {
            0 => self.hosts[host] = Host { down: true, ..Host::default() },
            1 => self.hosts[host] = Host { full: true, ..Host::default() },
            2 => self.hosts[host] = Host { black_hole: true, ..Host::default() },
            3 => self.restart(host, &Close::new(close::RESTART, "restart")),
            4 => self.restart(host, &Close::new(close::DRAINING, "draining")),
            _ => return self.lose_history(),
        }
        let pause = self.dice.millis(200, 15_000);
        self.after(pause, Due::HostUp(host));
    }

    /// The server ends every connection and is away for a while. It remembers nothing of them.
    fn restart(&mut self, host: usize, close: &Close) {
        self.hosts[host] = Host { down: true, ..Host::default() };
        let here = |(_, line): &(&LineId, &crate::line::Line)| line.open && line.host == host;
        let ids: Vec<LineId> = self.lines.iter().filter(here).map(|(id, _)| *id).collect();
        let now = self.now;
        for id in ids {
            if self.dice.chance(30) {
                self.cut(id);
            } else if let Some(line) = self.told_line(id) {
                line.peer.close(close.clone(), now);
                self.drain_peer(id);
            }
        }
    }

    /// The shared history is gone, and most times every server with it.
    fn lose_history(&mut self) {
        self.history.lose();
        for bus in &mut self.buses {
            bus.heads.clear();
        }
        if self.dice.chance(40) {
            return; // whoever listens learns of it by the next publication
        }
        for host in 0..self.hosts.len() {
            self.restart(host, &Close::new(close::RESTART, "restart"));
            let pause = self.dice.millis(100, 2_000);
            self.after(pause, Due::HostUp(host));
        }
    }

    /// Marks a connection as spoilt and sees to it that it is cut; false when it is already.
    fn taint(&mut self, id: LineId) -> bool {
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.tainted) else { return false };
        line.tainted = true;
        let pause = self.dice.millis(50, 3_000);
        self.after(pause, Due::Cut(id.0, id.1));
        true
    }

    /// The weather is good from here on. Connections that died in it are still dead: to find out is the clients' part.
    pub(crate) fn clear_the_weather(&mut self) {
        self.trace.note(self.now, format_args!("-- the weather clears"));
        self.calm = true;
        for host in &mut self.hosts {
            *host = Host::default();
        }
        for line in self.lines.values_mut() {
            line.delay = Duration::ZERO;
            line.skips = None;
        }
        for bus in &mut self.buses {
            bus.delay = Duration::ZERO;
        }
        self.wake_everyone();
    }
}

/// Whether a frame may come twice without meaning something else: it is sealed, or a publication.
fn is_publication(frame: &Frame) -> bool {
    let bytes = frame.bytes();
    bytes.starts_with(b"E:") || bytes.windows(6).any(|window| window == b"update") && !bytes.starts_with(b"WSE")
}
