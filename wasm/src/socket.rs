//! One WebSocket of the host, wired to the driver.

use std::{cell::RefCell, rc::Weak};

use bytes::Bytes;
use js_sys::{Function, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};
use wse_client_core::{
    client::{Fault, Input},
    io::{Close, Frame, SocketId},
};

use crate::driver::Driver;

/// A socket and its callbacks. Dropping it takes the callbacks off; it does not close the socket.
pub(crate) struct Socket {
    id: SocketId,
    socket: WebSocket,
    _callbacks: [Closure<dyn FnMut(JsValue)>; 4],
}

thread_local! {
    /// Stays on sockets that were let go: some hosts (`ws` for Node) treat an error that nobody listens to as fatal.
    static IGNORE: Closure<dyn FnMut(JsValue)> = Closure::new(|_| {});
}

impl Socket {
    /// Starts to dial.
    ///
    /// # Errors
    /// What the host says about an address it does not accept, or that there is no `WebSocket`.
    pub(crate) fn open(id: SocketId, url: &str, driver: &Weak<Driver>) -> Result<Self, Fault> {
        let socket = WebSocket::new(url).map_err(|reason| fault(&describe(&reason, "the host refused to dial")))?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let trouble = std::rc::Rc::new(RefCell::new(None::<String>));
        let opened = std::rc::Rc::new(std::cell::Cell::new(false));

        let on_open = {
            let (feed, opened) = (feeder(driver), opened.clone());
            Closure::new(move |_| {
                opened.set(true);
                feed(Input::Opened(id));
            })
        };
        let on_message = {
            let feed = feeder(driver);
            Closure::new(move |event: JsValue| {
                feed(Input::Frame(id, frame(&event.unchecked_into::<MessageEvent>().data())))
            })
        };
        // An error event is always followed by a close event; it only explains it, and in browsers not even that.
        let on_error = {
            let trouble = trouble.clone();
            Closure::new(move |event: JsValue| *trouble.borrow_mut() = message_of(&event))
        };
        let on_close = {
            let feed = feeder(driver);
            Closure::new(move |event: JsValue| {
                let event = event.unchecked_into::<CloseEvent>();
                feed(if opened.get() {
                    Input::Closed(id, Close::new(event.code(), event.reason()))
                } else {
                    let detail = trouble.borrow_mut().take();
                    Input::Failed(id, fault(&detail.unwrap_or_else(|| "the connection could not be opened".into())))
                });
            })
        };

        socket.set_onopen(Some(function(&on_open)));
        socket.set_onmessage(Some(function(&on_message)));
        socket.set_onerror(Some(function(&on_error)));
        socket.set_onclose(Some(function(&on_close)));
        Ok(Self { id, socket, _callbacks: [on_open, on_message, on_error, on_close] })
    }

    pub(crate) const fn id(&self) -> SocketId {
        self.id
    }

    /// Queues one message at the host. A socket that is closing drops it, and says so by its close event.
    pub(crate) fn send(&self, frame: &Frame) {
        let _ = match frame {
            Frame::Text(text) => self.socket.send_with_str(&String::from_utf8_lossy(text)),
            // A copy: hosts may keep the array until it is on the wire, and wasm memory moves when it grows.
            Frame::Binary(bytes) => self.socket.send_with_array_buffer_view(&Uint8Array::from(bytes.as_ref())),
        };
    }

    /// Bytes that the host has taken and not written yet.
    pub(crate) fn buffered_bytes(&self) -> u32 {
        self.socket.buffered_amount()
    }

    /// Closes, or stops dialling.
    pub(crate) fn close(&self, close: &Close) {
        // Browsers let a page use 1000 and 3000–4999 only; the others go out without a code.
        if self.socket.close_with_code_and_reason(close.code, &close.reason).is_err() {
            let _ = self.socket.close();
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        IGNORE.with(|ignore| self.socket.set_onerror(Some(function(ignore))));
    }
}

fn function(callback: &Closure<dyn FnMut(JsValue)>) -> &Function {
    callback.as_ref().unchecked_ref()
}

fn feeder(driver: &Weak<Driver>) -> impl Fn(Input) + 'static {
    let driver = driver.clone();
    move |input| {
        if let Some(driver) = driver.upgrade() {
            driver.turn(|client, now| client.handle(input, now));
        }
    }
}

/// Copies what arrived into wasm memory, once.
fn frame(data: &JsValue) -> Frame {
    data.as_string().map_or_else(
        || Frame::Binary(Bytes::from(Uint8Array::new(data).to_vec())),
        |text| Frame::Text(Bytes::from(text.into_bytes())),
    )
}

fn fault(detail: &str) -> Fault {
    Fault { http_status: None, detail: detail.into() }
}

fn message_of(value: &JsValue) -> Option<String> {
    Reflect::get(value, &"message".into()).ok()?.as_string().filter(|text| !text.is_empty())
}

fn describe(reason: &JsValue, otherwise: &str) -> String {
    message_of(reason).unwrap_or_else(|| otherwise.into())
}
