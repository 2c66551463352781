//! First inputs for every target, from the vectors that all languages test with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Files of one target, and bytes of one file. A fuzzer works best on few and small ones.
const MOST_FILES: usize = 26;
const MOST_BYTES: usize = 1200;

/// Inputs by target.
type Seeds = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// Writes `corpus/<target>/<hash>` for every seed, and leaves other files alone.
pub(crate) fn write() {
    for (target, inputs) in collect() {
        let folder = manifest().join("corpus").join(target);
        fs::create_dir_all(&folder).expect("the corpus can be written");
        for input in spread(inputs.into_iter().filter(|input| input.len() <= MOST_BYTES).collect()) {
            fs::write(folder.join(format!("{:016x}", hash(&input))), &input).expect("the corpus can be written");
        }
    }
}

/// At most [`MOST_FILES`], evenly spread over the sorted inputs, so that each kind is there.
fn spread(inputs: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let step = inputs.len().div_ceil(MOST_FILES).max(1);
    inputs.into_iter().step_by(step).collect()
}

fn collect() -> Seeds {
    let mut seeds = Seeds::new();
    let vectors = manifest().join("../vectors");
    for name in ["frames", "envelope", "compression", "msgpack", "router_system", "hello"] {
        let path = vectors.join(format!("{name}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file: Value = serde_json::from_str(&text).expect("vectors are JSON");
        visit(&file["cases"], &mut seeds);
        if name == "hello" {
            conversations(&file["cases"], &mut seeds);
        }
    }
    pairs(&mut seeds);
    seeds
}

/// Notes every frame in a value, by the name of the member that holds it.
fn visit(value: &Value, seeds: &mut Seeds) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(item, seeds)),
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member.as_str()) {
                    ("text" | "utf8", Some(text)) => add(seeds, "decode_text", text.as_bytes().to_vec()),
                    ("binary" | "text_hex", Some(hex)) => binary(&unhex(hex), seeds),
                    ("frame_b64" | "data_b64" | "msgpack_b64" | "client_b64", Some(text)) => {
                        binary(&STANDARD.decode(text).expect("base64"), seeds);
                    }
                    _ => visit(member, seeds),
                }
            }
        }
        _ => {}
    }
}

fn binary(bytes: &[u8], seeds: &mut Seeds) {
    add(seeds, "decode_binary", [&[0], bytes].concat());
    if let Some(data) = bytes.strip_prefix(b"C:") {
        add(seeds, "zlib", [&[0xFF, 0xFF], data].concat());
        add(seeds, "zlib", [&[0, 10], data].concat());
    }
    let packed = bytes.strip_prefix(b"M:").unwrap_or(bytes);
    if matches!(packed.first(), Some(0x80..=0xDF)) {
        add(seeds, "msgpack", packed.to_vec());
    }
}

/// What servers and clients said to each other, as scripts for either end.
fn conversations(cases: &Value, seeds: &mut Seeds) {
    for case in cases.as_array().into_iter().flatten() {
        // Encryption as the case has it: the flags of `client::config` and of the peer's settings.
        let mut client = vec![0x40, 0, 7];
        let mut peer = vec![0x30, 0];
        for frame in case["frames"].as_array().into_iter().flatten() {
            let Some(data) = frame["data_b64"].as_str() else { continue };
            let bytes = STANDARD.decode(data).expect("base64");
            let Ok(length) = u8::try_from(bytes.len()) else { continue };
            let kind = 4 | u8::from(frame["opcode"] == "binary");
            let (script, step) = if frame["dir"] == "s2c" { (&mut client, 17) } else { (&mut peer, 10) };
            script.extend([step, kind, length]);
            script.extend(bytes);
        }
        add(seeds, "client_script", client);
        add(seeds, "peer_script", peer);
    }
    // A greeting, then each command and input in turn, under every setting.
    for setting in 0..8u8 {
        let greeting = [7, 17, 0, 27 + (setting & 1)];
        let work =
            (0..32).flat_map(|at| [24, at, 25, at, 4, 2, b'{', b'}', 0, at & 1, 0, 17, 0, at, 27, 28, 0, 0, 16, 3]);
        let head = [
            0x80 | (setting << 5) | (7 * (setting & 1)),
            setting.wrapping_mul(37),
            setting.wrapping_mul(73),
            setting.wrapping_mul(91),
        ];
        add(seeds, "client_script", head.into_iter().chain(greeting).chain(work).collect());
        let hello = [10, 0, 23];
        let work = (0..28).flat_map(|at| [10, 0, at, 16, at, at, 17, 18, 0, at, 19, 8, 0, 3, 3, 2, b'{', b'}', 0, 0]);
        add(seeds, "peer_script", [0x10, setting << 5].into_iter().chain(hello).chain(work).collect());
    }
    for step in 0..24 {
        let phrases: Vec<u8> = (0..24).flat_map(|at| [17, at & 1, at, step, at, 1]).collect();
        add(seeds, "client_script", [&[step * 11, step, 7], &*phrases].concat());
        let phrases: Vec<u8> = (0..24).flat_map(|at| [10, at & 3, at, step, at, 1]).collect();
        add(seeds, "peer_script", [&[step * 11, step], &*phrases].concat());
    }
}

/// A link that works, and one with each kind of trouble in it.
fn pairs(seeds: &mut Seeds) {
    for trouble in 0..16 {
        let settings = [trouble * 17, trouble * 5];
        let greeting = [15, 0, 4, 0, 4, 0, 4];
        let work = [13, 1, 0, 0, 4, 12, 2, b'{', b'}', 0, 0, 0, 14, 2, b'[', b']', 0, 0, 4];
        let mess = [8, trouble, 3, 1, trouble, trouble, 7, 10, trouble * 16, 11, 0, 4, 9, 11, 15, 0, 4, 0, 4];
        add(seeds, "client_peer", [&settings[..], &greeting, &work, &mess, &work, &mess].concat());
    }
}

fn add(seeds: &mut Seeds, target: &'static str, input: Vec<u8>) {
    seeds.entry(target).or_default().insert(input);
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}

/// FNV-1a: names that stay the same.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}
