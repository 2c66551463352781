//! What must hold of a [`Client`] whatever it was told.

use wse_client_core::{
    client::{Action, Client, ConnectionState, Event, Output, RequestId},
    io::{Frame, SocketId},
    time::Moment,
};

/// More steps than one input can ask for.
const MOST_OUTPUTS: usize = 10_000;

/// A driver that watches: at most one open socket, names that grow, frames only for the open socket.
#[derive(Default)]
pub(crate) struct Watch {
    /// The socket that is being opened or open.
    pub(crate) socket: Option<SocketId>,
    last_socket: u64,
    /// When the client wants to be woken.
    pub(crate) deadline: Option<Moment>,
    /// The last drain asked for a token.
    pub(crate) wants_token: Option<RequestId>,
}

/// What one drain brought, in order.
pub(crate) enum Step {
    Opened(SocketId),
    Sent(Frame),
    Closed,
    Told(Event),
}

impl Watch {
    /// Takes everything out of the client and checks it.
    pub(crate) fn drain(&mut self, client: &mut Client) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..MOST_OUTPUTS {
            match client.poll() {
                Output::Act(action) => steps.extend(self.act(action)),
                Output::Emit(event) => steps.push(Step::Told(event)),
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    check_waits(client.state(), deadline);
                    return steps;
                }
            }
        }
        panic!("poll goes on and on");
    }

    fn act(&mut self, action: Action) -> Option<Step> {
        match action {
            Action::Open { socket, .. } => {
                assert_eq!(self.socket, None, "a second socket");
                assert!(socket.0 > self.last_socket, "the name of a socket comes again");
                self.last_socket = socket.0;
                self.socket = Some(socket);
                Some(Step::Opened(socket))
            }
            Action::Send { socket, frame } => {
                assert_eq!(self.socket, Some(socket), "a frame for a socket that is not open");
                Some(Step::Sent(frame))
            }
            Action::Close { socket, .. } => {
                assert_eq!(self.socket.take(), Some(socket), "a close for a socket that is not open");
                Some(Step::Closed)
            }
            Action::FetchToken { request, .. } => {
                self.wants_token = Some(request);
                None
            }
        }
    }
}

/// Only a client at rest waits for nothing.
fn check_waits(state: ConnectionState, deadline: Option<Moment>) {
    let rests = matches!(state, ConnectionState::Idle | ConnectionState::Failed | ConnectionState::Closed);
    assert!(rests || deadline.is_some(), "parked for ever while {}", state.as_str());
}
