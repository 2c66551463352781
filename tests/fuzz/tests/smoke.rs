//! Every target on its corpus and on seeded mutations of it: a smoke run, on stable Rust and the same each time.
//!
//! It keeps known paths whole. The search for new ones is `make fuzz`.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use wse_client_core::rng::{Rng, Seed};
use wse_fuzz::{TARGETS, Target};

const MOST_FILES: usize = 200;
const MOST_BYTES: usize = 300 << 10;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = folder(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

/// Runs one input; one that fails is kept, with the words to play it again.
fn check(target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let path = std::env::temp_dir().join(format!("wse-fuzz-{}", target.name));
        fs::write(&path, input).expect("the input can be kept");
        panic!("again with: cargo run -p wse-fuzz -- run {} {}", target.name, path.display());
    }
}

struct Mutator(Rng);

impl Mutator {
    fn below(&mut self, end: usize) -> usize {
        (self.0.unit() * end as f64) as usize
    }

    /// A few small changes: a bit, a byte, a piece left out, doubled, or taken from another input.
    fn mutate(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut out = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(out.len() + 1);
            let end = (at + self.below(12)).min(out.len());
            match self.below(6) {
                0 if at < out.len() => out[at] ^= 1 << self.below(8),
                1 if at < out.len() => out[at] = [0, 0x7F, 0x80, 0xFF, b'"', b'{', b'\\'][self.below(7)],
                2 => drop(out.drain(at..end)),
                3 => {
                    let piece = out[at..end].repeat(1 + self.below(8));
                    out.splice(at..at, piece);
                }
                4 => {
                    let from = self.below(other.len() + 1);
                    let piece = other[from..(from + self.below(40)).min(other.len())].to_vec();
                    out.splice(at..end, piece);
                }
                _ => out.insert(at, self.below(256) as u8),
            }
        }
        out
    }
}

fn smoke(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let corpus = corpus(name);
    assert!(corpus.len() >= 10, "{name} has a corpus");
    let mut mutator = Mutator(Rng::new(Seed::from_u64(11)));
    for input in &corpus {
        check(target, input);
        for _ in 0..target.mutations {
            let other = &corpus[mutator.below(corpus.len())];
            check(target, &mutator.mutate(input, other));
        }
    }
}

#[test]
fn decode_text() {
    smoke("decode_text");
}

#[test]
fn decode_binary() {
    smoke("decode_binary");
}

#[test]
fn msgpack() {
    smoke("msgpack");
}

#[test]
fn zlib() {
    smoke("zlib");
}

#[test]
fn client_script() {
    smoke("client_script");
}

#[test]
fn peer_script() {
    smoke("peer_script");
}

#[test]
fn client_peer() {
    smoke("client_peer");
}

#[test]
fn corpora_are_small_and_belong_to_targets() {
    let (mut files, mut bytes) = (0, 0);
    for target in TARGETS {
        let corpus = corpus(target.name);
        files += corpus.len();
        bytes += corpus.iter().map(Vec::len).sum::<usize>();
    }
    assert!(files <= MOST_FILES, "{files} files");
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    let folders = fs::read_dir(folder("")).expect("a corpus").count();
    assert_eq!(folders, TARGETS.len(), "a folder without a target, or a target without a folder");
}
