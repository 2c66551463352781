//! The clock, the queue of what is due, and the step from one to the other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use wse_client_core::{
    client::{self, Client, RequestId},
    config::{ClientConfig, Credentials},
    io::{Close, Frame, SocketId},
    rng::Seed,
    server::{self, PeerConfig, SubscriptionRequest},
    time::Moment,
};

use crate::{
    civil::Civil,
    dice::Dice,
    history::{History, Publication},
    invariants::{self, Invariant, Violation},
    line::{Line, LineId},
    plan::{Plan, SETTLING},
    tab::{Tab, token_text},
    trace::Trace,
};

/// What reaches a client.
#[derive(Debug)]
pub(crate) enum Delivery {
    Opened,
    Refused(Option<u16>),
    Frame(Frame),
    Closed(Close),
}

/// What is due at some moment.
#[derive(Debug)]
pub(crate) enum Due {
    ToTab(usize, SocketId, Delivery),
    ToPeer(usize, SocketId, Frame),
    PeerClosed(usize, SocketId),
    /// Cut a connection on which something was forged or damaged.
    Cut(usize, SocketId),
    Token(usize, RequestId, Result<(), String>),
    NewToken(usize),
    App(usize),
    Thaw(usize),
    ReadOn(usize),
    Weather,
    Publish,
    /// A message of a client that a server heard goes out to whoever listens.
    Passed(String),
    HostUp(usize),
    /// A publication comes to a server.
    Bus(usize, Publication),
    /// A server answers a subscription or a question about a gap: it had to look the history up first.
    Answer(LineId, SubscriptionRequest, bool),
}

/// One of several equal servers.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Dials are refused.
    pub(crate) down: bool,
    /// Nobody else is let in.
    pub(crate) full: bool,
    /// Dials vanish.
    pub(crate) black_hole: bool,
}

/// What has come over the bus to a server: publications reach each one later, and in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    pub(crate) delay: Duration,
    /// When the last one that is under way arrives.
    pub(crate) last_arrival: Moment,
    /// By topic, the offset of the next one to come.
    pub(crate) heads: BTreeMap<String, u64>,
}

/// How a world went.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    /// Steps taken.
    pub steps: u64,
    /// Publications that reached an application.
    pub delivered: u64,
    /// Of these, ones that came by recovery.
    pub recovered: u64,
    /// Ranges that an application was told to be lost.
    pub lost: u64,
    /// Connections that became ready.
    pub connections: u64,
    /// Messages of applications that a server heard.
    pub heard: u64,
}

/// See the module documentation.
pub struct World {
    pub(crate) now: Moment,
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) peer_configs: Vec<Arc<PeerConfig>>,
    pub(crate) tabs: Vec<Tab>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) buses: Vec<Bus>,
    /// What the clock of each server shows.
    pub(crate) clocks: Vec<Civil>,
    pub(crate) lines: BTreeMap<(usize, SocketId), Line>,
    pub(crate) history: History,
    pub(crate) due: BTreeMap<(Moment, u64), Due>,
    pub(crate) calm: bool,
    /// Nothing is published and no application acts any more.
    pub(crate) quiet: bool,
    pub(crate) report: Report,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
    scheduled: u64,
    pub(crate) numbers: u64,
    /// Steps since time last moved.
    still: u32,
}

/// Steps without a move of the clock that nothing but a spin can need.
const MAX_STILL: u32 = 20_000;

impl World {
    /// A world as its seed draws it.
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x5157_e001);
        let plan = Plan::draw(seed, &mut dice);
        let now = Moment::from_millis(1000);
        let clocks = (0..plan.servers).map(|_| Civil::draw(&mut dice)).collect();
        let civil: Vec<Civil> = plan.clients.iter().map(|_| Civil::draw(&mut dice)).collect();
        let configs = plan.clients.iter().zip(civil).enumerate();
        let tabs = configs.map(|(index, (config, civil))| tab(seed, index, config, civil, now)).collect();
        Self {
            now,
            dice,
            peer_configs: plan.dialects.iter().map(|dialect| Arc::new(dialect.settings(&plan.peer))).collect(),
            tabs,
            hosts: (0..plan.servers).map(|_| Host::default()).collect(),
            buses: (0..plan.servers).map(|_| Bus::default()).collect(),
            clocks,
            lines: BTreeMap::new(),
            history: History::new(plan.ring),
            plan,
            due: BTreeMap::new(),
            calm: false,
            quiet: false,
            report: Report::default(),
            trace,
            violation: None,
            scheduled: 0,
            numbers: 0,
            still: 0,
        }
    }

    /// Lets the world run: bad weather, then calm until everything must be well again.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run(&mut self) -> Result<Report, Violation> {
        for index in 0..self.tabs.len() {
            let now = self.tabs[index].told(self.now);
            self.tabs[index].client.connect(now);
            self.drain_tab(index);
            let first = self.dice.millis(10, 2_000);
            self.after(first, Due::App(index));
        }
        self.after(Duration::from_millis(50), Due::Publish);
        self.after(Duration::from_millis(500), Due::Weather);
        self.run_for(self.plan.storm)?;
        self.clear_the_weather();
        self.run_for(SETTLING)?;
        self.quiet = true;
        // What applications asked for last is answered first.
        self.run_for(Duration::from_secs(10))?;
        // A last publication for each topic: whoever misses something before it learns of it now.
        self.publish_everywhere();
        self.run_for(Duration::from_secs(45))?;
        invariants::settled(self)?;
        Ok(self.report)
    }

    /// What was noted.
    pub fn into_trace(self) -> Vec<String> {
        self.trace.into_lines()
    }

    fn run_for(&mut self, length: Duration) -> Result<(), Violation> {
        let end = self.now + length;
        while let Some(at) = self.next_moment().filter(|at| *at <= end) {
            self.advance(at)?;
            self.step();
            self.report.steps += 1;
            invariants::each_step(self);
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.now = end;
        Ok(())
    }

    fn advance(&mut self, at: Moment) -> Result<(), Violation> {
        if at > self.now {
            self.now = at;
            self.still = 0;
            return Ok(());
        }
        self.still += 1;
        if self.still < MAX_STILL {
            return Ok(());
        }
        let detail = format!("{MAX_STILL} steps without the clock moving");
        Err(Violation { invariant: Invariant::TimeMoves, at: self.now, detail })
    }

    fn next_moment(&mut self) -> Option<Moment> {
        let due = self.due.first_key_value().map(|((at, _), _)| *at);
        let tabs = self.tabs.iter().filter(|tab| !tab.frozen).filter_map(|tab| tab.deadline);
        let peers = self.lines.values().filter(|line| line.open).filter_map(|line| line.deadline);
        due.into_iter().chain(tabs).chain(peers).min().map(|at| at.max(self.now))
    }

    fn step(&mut self) {
        if let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let due = entry.remove();
            return self.happen(due);
        }
        let now = self.now;
        let is_due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        if let Some(index) = self.tabs.iter().position(|tab| !tab.frozen && is_due(tab.deadline)) {
            return self.tab_input(index, client::Input::Wake);
        }
        let line = self.lines.iter().find(|(_, line)| line.open && is_due(line.deadline)).map(|(key, _)| *key);
        if let Some(key) = line {
            self.peer_input(key, server::Input::Wake);
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::ToTab(index, socket, delivery) => self.reach_tab(index, socket, delivery),
            Due::ToPeer(index, socket, frame) => self.reach_peer((index, socket), frame),
            Due::PeerClosed(index, socket) => {
                self.peer_input((index, socket), server::Input::Closed(Close::abnormal()))
            }
            Due::Cut(index, socket) => self.cut((index, socket)),
            Due::Token(index, request, answer) => self.answer_token(index, request, answer),
            Due::NewToken(index) => self.rotate_token(index),
            Due::App(index) => self.app_acts(index),
            Due::Thaw(index) => self.thaw(index),
            Due::ReadOn(index) => self.pause_reads(index, false),
            Due::Weather => self.turn_weather(),
            Due::Publish => self.publish_something(),
            Due::Passed(name) => self.publish(&name),
            Due::HostUp(host) => self.hosts[host] = Host::default(),
            Due::Bus(host, publication) => self.fan_out(host, &publication),
            Due::Answer(id, request, subscribes) => self.answer_line(id, request, subscribes),
        }
    }

    pub(crate) fn after(&mut self, pause: Duration, due: Due) {
        let at = self.now + pause;
        self.schedule(at, due);
    }

    pub(crate) fn schedule(&mut self, at: Moment, due: Due) {
        self.scheduled += 1;
        self.due.insert((at, self.scheduled), due);
    }

    /// Notes the first invariant that does not hold; the run ends after this step.
    pub(crate) fn fail(&mut self, invariant: Invariant, detail: String) {
        if self.violation.is_none() {
            self.trace.note(self.now, format_args!("!! {}: {detail}", invariant.name()));
            self.violation = Some(Violation { invariant, at: self.now, detail });
        }
    }
}

fn tab(seed: u64, index: usize, config: &ClientConfig, civil: Civil, now: Moment) -> Tab {
    let mut config = config.clone();
    let has_provider = matches!(config.credentials, Credentials::Provider);
    if !has_provider {
        config.credentials = Credentials::Token(token_text(index, 1).into());
    }
    let may_fail = config.reconnect.max_retries.is_some();
    let client_seed = Seed::from_u64(seed.wrapping_mul(64) + index as u64);
    let client = Client::new(config, client_seed, now, civil.at(now)).expect("plans are valid settings");
    Tab::new(client, civil, has_provider, may_fail)
}
