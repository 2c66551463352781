//! The class that the TypeScript wrapper holds.

use std::rc::Rc;

use js_sys::{Array, Function, JsString};
use wasm_bindgen::prelude::*;
use wse_client_core::{
    client::{Casing, Client, Input, NetworkHint, Outgoing, Request, RequestId, SubscribeOptions, figures_to_json},
    error::Code,
    io::Close,
    security::Secret,
    wire::{Payload, Priority},
};

use crate::{config, convert, driver::Driver, error, global};

/// Bytes that may wait in the host's socket before a message is refused. 16 MiB.
const MAX_BUFFERED: u32 = 16 << 20;

/// One logical connection. Events are pulled: `wake` is called once when some wait, `takeEvents` takes them all.
#[wasm_bindgen]
pub struct WasmClient {
    driver: Rc<Driver>,
}

#[wasm_bindgen]
impl WasmClient {
    /// A client that has not dialled yet.
    ///
    /// `options` are pairs as in `wasm/src/config.rs`, `version` is told to the server, `asks` says that tokens come from
    /// `fetch_token`. `wake()` is called when events wait; it must not call back at once. `fetch_token(request, renew)` is called
    /// when a token is wanted; answer with `provideToken`.
    #[wasm_bindgen(constructor)]
    pub fn new(
        options: &Array,
        version: String,
        asks: bool,
        wake: Function,
        fetch_token: Function,
    ) -> Result<Self, JsValue> {
        global::report_panics();
        let config = config::read(options, version, asks).map_err(|refused| error::from_config(&refused))?;
        let core = Client::new(config, global::seed()?, global::now(), global::wall())
            .map_err(|refused| error::from_config(&refused))?;
        Ok(Self { driver: Driver::new(core, wake, fetch_token) })
    }

    /// Starts to connect.
    pub fn connect(&self) {
        self.driver.turn(|client, now| client.connect(now));
    }

    /// Drops the present connection or attempt and dials at once.
    pub fn reconnect(&self) {
        self.driver.turn(|client, now| client.reconnect(now));
    }

    /// What the host knows about the network or about itself: `offline`, `online`, `address_changed`, `sleep` or `wake`.
    #[wasm_bindgen(js_name = networkHint)]
    pub fn network_hint(&self, name: &str) -> Result<(), JsValue> {
        let hint = NetworkHint::named(name).map_err(|refused| error::from_config(&refused))?;
        self.driver.turn(|client, now| client.handle(Input::Network(hint), now));
        Ok(())
    }

    /// Keeps a token that opens one topic, or forgets it.
    #[wasm_bindgen(js_name = setChannelToken)]
    pub fn set_channel_token(&self, topic: &str, token: Option<String>) -> Result<(), JsValue> {
        let kept = self.driver.turn(|client, _| client.set_channel_token(topic, token.map(Secret::new)));
        kept.map_err(|refused| error::from_subscribe(&refused))
    }

    /// Renews the keys of an encrypted connection.
    #[wasm_bindgen(js_name = rotateKeys)]
    pub fn rotate_keys(&self) -> Result<(), JsValue> {
        self.driver.turn(|client, now| client.rotate_keys(now)).map_err(|refused| error::from_rotate(&refused))
    }

    /// Closes the socket behind the engine's back, as a failing network would: for demos and tests.
    #[wasm_bindgen(js_name = dropConnection)]
    pub fn drop_connection(&self) {
        self.driver.cut();
    }

    /// Ends the connection for good.
    pub fn close(&self, code: u16, reason: &str) {
        self.driver.turn(|client, now| client.close(Close::new(code, reason), now));
    }

    /// Sends a message whose payload is JSON text, and gives its id.
    pub fn send(
        &self,
        kind: String,
        payload: String,
        topic: Option<String>,
        id: Option<String>,
        correlation_id: Option<String>,
        priority: Option<i32>,
    ) -> Result<String, JsValue> {
        if self.driver.buffered_bytes() > MAX_BUFFERED {
            self.driver.turn(|client, _| client.note_refused());
            let message = format!("more than {MAX_BUFFERED} bytes wait for the network");
            return Err(error::error(Code::QueueFull, &message));
        }
        let payload = Payload::from_json(payload).map_err(|refused| error::from_payload(&refused))?;
        let mut message = Outgoing::new(kind, payload);
        message.topic = topic;
        message.id = id;
        message.correlation_id = correlation_id;
        message.priority = priority.map_or_else(Priority::default, |number| Priority::from_number(number.into()));
        self.driver.turn(|client, now| client.send(message, now)).map_err(|refused| error::from_send(&refused))
    }

    /// Asks for topics; `presence` is JSON text. The number names the request in the `subscribed` event that ends it.
    pub fn subscribe(
        &self,
        topics: Vec<String>,
        presence: Option<String>,
        group: Option<String>,
    ) -> Result<f64, JsValue> {
        let presence = presence.map(Payload::from_json).transpose().map_err(|refused| error::from_payload(&refused))?;
        let options = SubscribeOptions { presence, group };
        let request = self.driver.turn(|client, now| client.subscribe_with(&topics, &options, now));
        request.map(number).map_err(|refused| error::from_subscribe(&refused))
    }

    /// Gives topics up. The number is as in `subscribe`.
    pub fn unsubscribe(&self, topics: Vec<String>) -> Result<f64, JsValue> {
        let request = self.driver.turn(|client, now| client.unsubscribe(&topics, now));
        request.map(number).map_err(|refused| error::from_subscribe(&refused))
    }

    /// Replaces the token for the next attempt.
    #[wasm_bindgen(js_name = setToken)]
    pub fn set_token(&self, token: Option<String>) {
        self.driver.turn(|client, now| client.set_token(token.map(Secret::new), now));
    }

    /// Answers the `fetch_token` of this number with a token, or with none. An answer to an earlier one is dropped.
    #[wasm_bindgen(js_name = provideToken)]
    pub fn provide_token(&self, request: f64, token: Option<String>) {
        self.answer(request, Ok(token.map(Secret::new)));
    }

    /// Answers the `fetch_token` of this number with a failure in the application's words.
    #[wasm_bindgen(js_name = refuseToken)]
    pub fn refuse_token(&self, request: f64, reason: String) {
        self.answer(request, Err(reason));
    }

    /// The events since the last call, oldest first.
    #[wasm_bindgen(js_name = takeEvents, unchecked_return_type = "WireEvent[]")]
    pub fn take_events(&self) -> Array {
        self.driver.take_events().iter().map(convert::event).collect()
    }

    /// The state: `idle`, `connecting`, `connected`, `reconnecting`, `failed` or `closed`.
    #[wasm_bindgen(unchecked_return_type = "WireState")]
    pub fn state(&self) -> JsString {
        self.driver.look(|client| client.state().as_str().into())
    }

    /// Topics that are wanted, in order of first request.
    pub fn topics(&self) -> Vec<String> {
        self.driver.look(|client| client.topics().to_vec())
    }

    /// What the server said about itself; `undefined` while not connected.
    #[wasm_bindgen(unchecked_return_type = "WireServer | undefined")]
    pub fn server(&self) -> JsValue {
        self.driver.look(|client| client.server().map_or(JsValue::UNDEFINED, convert::server))
    }

    /// Asks the server something; the payload is JSON text. The number names the request in the event that ends it.
    pub fn request(&self, kind: String, payload: String) -> Result<f64, JsValue> {
        let payload = Payload::from_json(payload).map_err(|refused| error::from_payload(&refused))?;
        let question = Request::Named { kind, payload };
        let request = self.driver.turn(|client, now| client.request(&question, now));
        request.map(number).map_err(|refused| error::error(refused.code(), &refused.to_string()))
    }

    /// How much, as JSON text: the engine's `Metrics`.
    pub fn metrics(&self) -> String {
        self.driver.look(|client| figures_to_json(&client.metrics(global::now()), Casing::Camel))
    }

    /// How and why, as JSON text: the engine's `Diagnostics`.
    pub fn diagnostics(&self) -> String {
        self.driver.look(|client| figures_to_json(&client.diagnostics(global::now()), Casing::Camel))
    }
}

/// `free()` closes the socket and clears the timer.
impl Drop for WasmClient {
    fn drop(&mut self) {
        self.driver.turn(|client, now| client.close(Close::normal(), now));
    }
}

impl WasmClient {
    fn answer(&self, request: f64, answer: Result<Option<Secret>, String>) {
        let request = RequestId(request as u64);
        self.driver.turn(|client, now| client.handle(Input::Token(request, answer), now));
    }
}

/// Request numbers stay far below 2^53.
pub(crate) fn number(request: RequestId) -> f64 {
    request.0 as f64
}
