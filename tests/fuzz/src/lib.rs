//! What the fuzz targets do with their bytes.
//!
//! Each target is a plain function that panics when something is wrong, so that two things can run it: libFuzzer
//! (`make fuzz`, see `libfuzzer/`), which looks for new paths for as long as it is allowed to, and the test
//! `smoke.rs`, which plays the committed corpus and a few thousand seeded mutations of it on stable Rust. The
//! smoke run keeps known paths whole; it does not replace the search.

mod clean;
mod client;
mod pair;
mod peer;
mod source;
mod wire;

/// One fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name, which is also that of its folder in `corpus/`.
    pub name: &'static str,
    /// Panics when something is wrong.
    pub run: fn(&[u8]),
    /// Mutations per corpus file in the smoke run: fewer for what costs more.
    pub mutations: usize,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "decode_text", run: wire::decode_text, mutations: 300 },
    Target { name: "decode_binary", run: wire::decode_binary, mutations: 300 },
    Target { name: "msgpack", run: wire::msgpack, mutations: 300 },
    Target { name: "zlib", run: wire::zlib, mutations: 200 },
    Target { name: "client_script", run: client::run, mutations: 150 },
    Target { name: "peer_script", run: peer::run, mutations: 200 },
    Target { name: "client_peer", run: pair::run, mutations: 60 },
];

/// Runs the target with this name.
///
/// # Panics
/// When there is no such target, or it finds a fault.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(data);
}
