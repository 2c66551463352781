//! What a server can say to hurt a client, each found by fuzzing.

use wse_client_core::{
    client::{Action, Client, Input, Output},
    config::ClientConfig,
    io::{Frame, SocketId},
    rng::Seed,
    time::{Moment, WallTime},
};

const NOW: Moment = Moment::from_millis(1000);

/// A client whose socket is open.
fn opened() -> (Client, SocketId) {
    let config = ClientConfig::new("ws://server/wse");
    let mut client = Client::new(config, Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("settings");
    client.connect(NOW);
    loop {
        match client.poll() {
            Output::Act(Action::Open { socket, .. }) => {
                client.handle(Input::Opened(socket), NOW);
                return (client, socket);
            }
            Output::Wait(_) => panic!("a client that connects opens a socket"),
            _ => {}
        }
    }
}

#[test]
fn losses_beyond_every_count_are_counted_as_many() {
    let (mut client, socket) = opened();
    for _ in 0..2 {
        let lost = format!(r#"WSE{{"t":"lost","p":{{"topic":"a","count":{}}}}}"#, u64::MAX);
        client.handle(Input::Frame(socket, Frame::Text(lost.into())), NOW);
    }
    assert_eq!(client.metrics(NOW).messages_lost, u64::MAX);
}
