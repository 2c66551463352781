//! The server end of a connection.

mod types;
mod upgrade;

pub use types::*;
pub use upgrade::{ParamError, UpgradeParams};

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    client::{Outgoing, SendError},
    error::Code,
    io::{Close, Frame},
    rng::Seed,
    time::{Moment, WallTime},
};

/// One accepted connection: who it is, what it may receive, and in which form.
///
/// Topic messages do not pass through it one by one: the server writes shared frames as
/// [`Peer::delivery`] says, and reports sums.
pub struct Peer {}

impl Peer {
    /// A peer for a WebSocket that was just opened. It sends `server_ready`, or the reason and a close.
    pub fn new(
        _config: Arc<PeerConfig>,
        _params: UpgradeParams,
        _admission: Admission,
        _connection_id: String,
        _seed: Seed,
        _now: Moment,
        _wall: WallTime,
    ) -> Self {
        todo!()
    }

    /// Hands in what came from the socket.
    pub fn handle(&mut self, _input: Input, _now: Moment) {
        todo!()
    }

    /// The next thing to do. Call until it answers [`Output::Wait`].
    pub fn poll(&mut self) -> Output {
        todo!()
    }

    /// Sends one message to this client alone.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub fn send(&mut self, _message: Outgoing, _now: Moment) -> Result<String, SendError> {
        todo!()
    }

    /// Answers [`Event::Subscribe`] or [`Event::Unsubscribe`]. `refused` adds what the server itself refused;
    /// `active` are all topics of the connection afterwards.
    pub fn answer_subscription(
        &mut self,
        _action: crate::client::SubscriptionAction,
        _request: SubscriptionRequest,
        _refused: Vec<(String, Code)>,
        _active: &[String],
        _now: Moment,
    ) {
        todo!()
    }

    /// Tells the client that messages of a topic were dropped for it.
    pub fn tell_lost(&mut self, _topic: &str, _count: u64, _now: Moment) {
        todo!()
    }

    /// Tells the client about an error; the connection goes on.
    pub fn tell_error(&mut self, _code: Code, _message: &str, _refused_id: Option<&str>, _now: Moment) {
        todo!()
    }

    /// Seals one shared frame (its payload bytes, markers included) for an encrypted connection.
    ///
    /// # Errors
    /// When there is no key, or its nonces are used up; the connection must be closed then.
    pub fn seal(&mut self, _frame: &[u8]) -> Result<Frame, Code> {
        todo!()
    }

    /// How shared frames must look for this connection.
    pub fn delivery(&self) -> Delivery {
        todo!()
    }

    /// Who is on the other end; `None` when it was not let in.
    pub fn identity(&self) -> Option<&Identity> {
        todo!()
    }

    /// The server's name for this connection.
    pub fn connection_id(&self) -> &str {
        todo!()
    }

    /// Closes: what was sent before goes out first.
    pub fn close(&mut self, _close: Close, _now: Moment) {
        todo!()
    }
}

const _: fn() = || {
    let _: Option<Bytes> = None;
};
