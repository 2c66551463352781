//! The lifecycle, explored until nothing new comes up.
//!
//! A situation is what [`run::Run::key`] tells apart: stage, order of deadlines, what is known of the link. From each
//! one every step of [`step::ALPHABET`] is tried on a real client, rebuilt from the same seed, breadth first. After
//! every step, `Run::step` checks that the change is a walk along rows of the table, that a timer bounds the stage,
//! that a client rests only for a rule, and that it holds one socket at most. In every situation `look_ahead` checks
//! that a helpful world gets it connected and that a silent one ends its wait. At the end no row may be unused.
//!
//! What it is worth: it found that pings stopped for good when one fell due while the answer to a hello with a key was
//! awaited. And each of these faults, planted by hand, one at a time, made it fail:
//! `Retry` not armed after a failure, or for a connect while the host is offline; `Dial` not armed for a token; `Ready` not armed for a greeting; a socket left
//! open when dialling took too long; `Opened` of another socket believed; 4401 treated like 4403; silence not watched
//! for after reads were paused; a row missing in the table; a change of stage that is not counted.

mod run;
mod step;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use run::Run;
use step::{ALPHABET, Step, Word};
use wse_client_core::{
    client::{
        NetworkHint,
        lifecycle::{Bound, TABLE},
    },
    config::{ClientConfig, Credentials},
    rng::{Rng, Seed},
};

/// More situations than this and the exploration is no longer a matter of seconds: choose a coarser key.
const AT_MOST: usize = 5_000;

/// What an exploration saw.
struct Seen {
    situations: usize,
    rows: Vec<bool>,
}

/// A client and what can happen to it.
struct Scope {
    config: ClientConfig,
    left_out: &'static [Step],
}

/// What the host and a server that goes away say of the time to come back bears on pauses, not on keys and tokens. All
/// of it at once would multiply the situations: one client hears of the ones, the others of the others.
const TIMES_TO_COME_BACK: &[Step] = &[Step::Hint(NetworkHint::Sleep), Step::Says(Word::Draining)];
const KEYS_AND_TOKENS: &[Step] = &[
    Step::SetToken,
    Step::TokenGiven,
    Step::NoToken,
    Step::TokenFailed,
    Step::FailedWith401,
    Step::ClosedWith(4401),
    Step::Says(Word::HelloWithKey),
    Step::Says(Word::HelloWithKeyFull),
    Step::Says(Word::HelloWithBadKey),
    Step::Says(Word::AuthError),
];

/// Clients that differ in what their lifecycle depends on.
fn scopes() -> [Scope; 5] {
    let base = || ClientConfig::new("ws://server/wse");
    let plain = base();
    let mut static_token = base();
    static_token.credentials = Credentials::Token("token".into());
    static_token.reconnect.max_retries = Some(1);
    let mut provider = base();
    provider.credentials = Credentials::Provider;
    provider.reconnect.max_retries = Some(1);
    let mut sealed = base();
    sealed.security.encryption = true;
    // Pings and silence before the server is ready.
    sealed.heartbeat.interval = Duration::from_secs(3);
    sealed.heartbeat.timeout = Duration::from_secs(4);
    // No key, and no more tries.
    let mut sealed_once = sealed.clone();
    sealed_once.reconnect.max_retries = Some(1);
    let others = [static_token, provider, sealed, sealed_once];
    let [a, b, c, d] = others.map(|config| Scope { config, left_out: TIMES_TO_COME_BACK });
    [Scope { config: plain, left_out: KEYS_AND_TOKENS }, a, b, c, d]
}

/// Breadth first over everything that can happen, so that the path of a failure is among the shortest.
fn explore(scope: &Scope) -> Seen {
    let config = &scope.config;
    let mut keys = BTreeSet::from([Run::new(config).key()]);
    let mut queue = VecDeque::from([Vec::new()]);
    let mut rows = vec![false; TABLE.len()];
    while let Some(path) = queue.pop_front() {
        let mut run = Run::replay(config, &path);
        let key = run.key();
        for step in ALPHABET.into_iter().filter(|step| !scope.left_out.contains(step)) {
            run.step(step);
            for (seen, taken) in rows.iter_mut().zip(run.client.fingerprint().taken) {
                *seen |= taken > 0;
            }
            let next = run.key();
            if next == key {
                // Nothing changed that matters, so the next step may follow here.
                continue;
            }
            if keys.insert(next) {
                assert!(keys.len() <= AT_MOST, "more than {AT_MOST} situations");
                look_ahead(config, run.steps());
                queue.push_back(run.steps().to_vec());
            }
            run = Run::replay(config, &path);
        }
    }
    Seen { situations: keys.len(), rows }
}

/// No trap, and no wait without an end.
fn look_ahead(config: &ClientConfig, path: &[Step]) {
    let mut run = Run::replay(config, path);
    assert!(run.cooperate(), "a trap: {} stays unconnected in a world where everybody helps", run.key());
    let mut run = Run::replay(config, path);
    if run.client.stage().bound() != Bound::Application {
        run.stay_in_silence();
    }
}

#[test]
fn no_situation_is_a_trap_every_wait_ends_and_the_table_is_the_truth() {
    let scopes = scopes();
    let seen: Vec<Seen> = std::thread::scope(|threads| {
        let workers: Vec<_> = scopes.iter().map(|scope| threads.spawn(|| explore(scope))).collect();
        workers.into_iter().map(|worker| worker.join().expect("explored")).collect()
    });
    let counts: Vec<usize> = seen.iter().map(|seen| seen.situations).collect();
    eprintln!("situations: {counts:?}");
    for (index, row) in TABLE.iter().enumerate() {
        assert!(seen.iter().any(|seen| seen.rows[index]), "a dead row: {row:?}");
    }
}

/// What the exploration leaves out because it does not matter to its key: long lives, many failures in a row.
#[test]
fn long_random_lives_keep_the_promises_too() {
    for (Scope { config, .. }, seed) in scopes().iter().zip([1, 2, 3, 4, 5]) {
        let mut rng = Rng::new(Seed::from_u64(seed));
        let mut run = Run::new(config);
        while run.steps().len() < 200 {
            if rng.unit() < 0.5 {
                run.help();
            } else {
                run.step(ALPHABET[(rng.unit() * ALPHABET.len() as f64) as usize]);
            }
        }
        look_ahead(config, run.steps());
    }
}
