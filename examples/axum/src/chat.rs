//! What is said in rooms, whichever way it comes.

use serde::{Deserialize, Serialize};
use wse_server::{
    AsyncHandler, Code, ConnectionHandle, Message, Outgoing, Payload, PublishError, Published, Refusal, Server,
};

/// The application behind the WebSockets.
#[derive(Debug)]
pub struct Chat;

/// A message of the type `say`.
#[derive(Debug, Deserialize)]
struct Say {
    room: String,
    text: String,
}

/// A message of the type `said`.
#[derive(Debug, Serialize)]
struct Said<'a> {
    from: &'a str,
    text: &'a str,
}

/// Tells everyone in a room.
pub(crate) fn tell(server: &Server, from: &str, room: &str, text: &str) -> Result<Published, PublishError> {
    let payload = Payload::new(&Said { from, text }).unwrap_or(Payload::EMPTY);
    server.publish(&format!("room:{room}"), Outgoing::new("said", payload))
}

impl AsyncHandler for Chat {
    type Error = Refusal;

    async fn on_message(&self, connection: &ConnectionHandle, message: Message) -> Result<(), Refusal> {
        if message.kind() != "say" {
            return Err(Refusal::new(Code::InvalidRequest, "only messages of the type say are understood"));
        }
        let say: Say =
            message.payload().parse().map_err(|error| Refusal::new(Code::InvalidRequest, error.to_string()))?;
        tell(connection.server(), connection.user_id(), &say.room, &say.text)?;
        Ok(())
    }
}
