//! The four steps of a driver: feed input, drain `poll`, set the timer, hand out events.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
};

use js_sys::Function;
use wasm_bindgen::JsValue;
use wse_client_core::{
    client::{Action, Client, Event, Input, Output},
    io::{Close, SocketId},
    time::Moment,
};

use crate::{
    client::number,
    global::{self, Timer},
    socket::Socket,
};

/// Close code of [`Driver::cut`]: from the private range, with no meaning to either side.
const CUT: u16 = 4000;

/// The engine and what it needs of the host. No borrow of the engine is held while anything of the host is called.
pub(crate) struct Driver {
    this: Weak<Self>,
    core: RefCell<Client>,
    socket: RefCell<Option<Socket>>,
    timer: RefCell<Option<Timer>>,
    events: RefCell<VecDeque<Event>>,
    /// The wrapper was told that events wait and did not take them yet.
    woken: Cell<bool>,
    wake: Function,
    fetch_token: Function,
}

impl Driver {
    pub(crate) fn new(core: Client, wake: Function, fetch_token: Function) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            core: RefCell::new(core),
            socket: RefCell::default(),
            timer: RefCell::default(),
            events: RefCell::default(),
            woken: Cell::new(false),
            wake,
            fetch_token,
        })
    }

    /// Reads the engine without changing it.
    pub(crate) fn look<R>(&self, read: impl FnOnce(&Client) -> R) -> R {
        read(&self.core.borrow())
    }

    /// Changes the engine once and does what follows from it.
    pub(crate) fn turn<R>(&self, change: impl FnOnce(&mut Client, Moment) -> R) -> R {
        let now = global::now();
        let (answer, actions, deadline) = {
            let mut core = self.core.borrow_mut();
            // Hosts differ in whether their monotonic clock counts the sleep of the machine.
            core.set_clock(global::wall(), now);
            let answer = change(&mut core, now);
            let (actions, deadline) = self.drain(&mut core);
            (answer, actions, deadline)
        };
        self.set_timer(deadline, now);
        for action in actions {
            self.act(action);
        }
        self.announce();
        answer
    }

    /// Closes the socket, if there is one, without telling the engine; it learns of it by the close event.
    pub(crate) fn cut(&self) {
        if let Some(socket) = self.socket.borrow().as_ref() {
            socket.close(&Close::new(CUT, "cut"));
        }
    }

    /// Bytes that the host has taken and not written yet.
    pub(crate) fn buffered_bytes(&self) -> u32 {
        self.socket.borrow().as_ref().map_or(0, Socket::buffered_bytes)
    }

    /// Takes the events that wait.
    pub(crate) fn take_events(&self) -> VecDeque<Event> {
        self.woken.set(false);
        self.events.take()
    }

    fn drain(&self, core: &mut Client) -> (Vec<Action>, Option<Moment>) {
        let mut actions = Vec::new();
        loop {
            match core.poll() {
                Output::Act(action) => actions.push(action),
                Output::Emit(event) => self.events.borrow_mut().push_back(event),
                Output::Wait(deadline) => return (actions, deadline),
            }
        }
    }

    fn act(&self, action: Action) {
        match action {
            Action::FetchToken { request, renew } => {
                let _ = self.fetch_token.call2(&JsValue::UNDEFINED, &number(request).into(), &renew.into());
            }
            Action::Open { socket, url, .. } => self.open(socket, &url),
            Action::Send { socket, frame } => self.with_socket(socket, |open| open.send(&frame)),
            Action::Close { socket, close } => {
                self.with_socket(socket, |open| open.close(&close));
                self.drop_socket(socket);
            }
        }
    }

    fn open(&self, id: SocketId, url: &str) {
        match Socket::open(id, url, &self.this) {
            // The socket before this one has ended; the engine dials one at a time.
            Ok(socket) => drop(self.socket.replace(Some(socket))),
            // A refusal on the spot is news of the world like any other.
            Err(fault) => self.turn(|client, now| client.handle(Input::Failed(id, fault), now)),
        }
    }

    fn with_socket(&self, id: SocketId, run: impl FnOnce(&Socket)) {
        if let Some(socket) = self.socket.borrow().as_ref().filter(|socket| socket.id() == id) {
            run(socket);
        }
    }

    fn drop_socket(&self, id: SocketId) {
        let mut slot = self.socket.borrow_mut();
        if slot.as_ref().is_some_and(|socket| socket.id() == id) {
            let ended = slot.take();
            drop(slot);
            drop(ended);
        }
    }

    /// Every message moves the deadline a little; a timer that fires too early costs less than a new one each time.
    fn set_timer(&self, deadline: Option<Moment>, now: Moment) {
        let soon_enough = match (self.timer.borrow().as_ref(), deadline) {
            (Some(timer), Some(deadline)) => timer.deadline() <= deadline,
            (armed, wanted) => armed.is_none() && wanted.is_none(),
        };
        if !soon_enough {
            let timer = deadline.map(|deadline| Timer::at(deadline, now, self.waker()));
            drop(self.timer.replace(timer));
        }
    }

    fn waker(&self) -> impl FnOnce() + 'static {
        let this = self.this.clone();
        move || {
            if let Some(driver) = this.upgrade() {
                drop(driver.timer.take());
                driver.turn(|client, now| client.handle(Input::Wake, now));
            }
        }
    }

    fn announce(&self) {
        let waiting = !self.events.borrow().is_empty();
        if waiting && !self.woken.replace(true) {
            let _ = self.wake.call0(&JsValue::UNDEFINED);
        }
    }
}
