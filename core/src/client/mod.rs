//! The client end of a connection.

mod types;

pub use types::*;

use crate::{
    config::{ClientConfig, ConfigError},
    io::Close,
    rng::Seed,
    security::Secret,
    time::{Moment, WallTime},
};

/// One logical connection to one of several equal servers, kept up until [`Client::close`].
///
/// Commands return an `Err` only for mistakes of the caller. What the world does is handed in by
/// [`Client::handle`]; what follows from either is taken out by [`Client::poll`].
pub struct Client {}

impl Client {
    /// A client that has not dialled yet.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn new(_config: ClientConfig, _seed: Seed, _now: Moment, _wall: WallTime) -> Result<Self, ConfigError> {
        todo!()
    }

    /// Starts to connect; does nothing while connected or connecting. After a failure or a close it starts anew.
    pub fn connect(&mut self, _now: Moment) {
        todo!()
    }

    /// Sends a message on the present connection and gives its id.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub fn send(&mut self, _message: Outgoing, _now: Moment) -> Result<String, SendError> {
        todo!()
    }

    /// Asks for topics (exact names, or patterns with `*` and `?`), now and after every reconnect.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changed then.
    pub fn subscribe<T: AsRef<str>>(&mut self, _topics: &[T], _now: Moment) -> Result<RequestId, SubscribeError> {
        todo!()
    }

    /// Gives up topics. Unknown ones are no error.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changed then.
    pub fn unsubscribe<T: AsRef<str>>(&mut self, _topics: &[T], _now: Moment) -> Result<RequestId, SubscribeError> {
        todo!()
    }

    /// Replaces the token for the next attempt; a client that failed for its token starts again.
    pub fn set_token(&mut self, _token: Option<Secret>, _now: Moment) {
        todo!()
    }

    /// Drops the present connection or attempt and dials at once.
    pub fn reconnect(&mut self, _now: Moment) {
        todo!()
    }

    /// Ends the connection for good. The state is [`ConnectionState::Closed`] at once.
    pub fn close(&mut self, _close: Close, _now: Moment) {
        todo!()
    }

    /// Hands in what the world did.
    pub fn handle(&mut self, _input: Input, _now: Moment) {
        todo!()
    }

    /// The next thing to do. Call until it answers [`Output::Wait`].
    pub fn poll(&mut self) -> Output {
        todo!()
    }

    /// Where the connection stands.
    pub fn state(&self) -> ConnectionState {
        todo!()
    }

    /// What the server said about itself; `None` while not connected.
    pub fn server(&self) -> Option<&ServerInfo> {
        todo!()
    }

    /// Topics that are wanted, in order of first request.
    pub fn topics(&self) -> &[String] {
        todo!()
    }

    /// The last end of a connection or attempt, if there was one.
    pub fn last_disconnect(&self) -> Option<&Disconnect> {
        todo!()
    }

    /// Counters and present figures.
    pub fn metrics(&self, _now: Moment) -> Metrics {
        todo!()
    }
}
