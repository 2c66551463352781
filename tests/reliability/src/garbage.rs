//! Garbage at full speed: each kind ends its connection with the right code, and begins again at once.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{io::AsyncWriteExt as _, task::JoinSet};
use wse_bench::wire::client_frame;

use crate::{
    Setup, attackers,
    control::Arena,
    raw::{Raw, Tally},
    sheet::{Of, Sheet},
};

/// Attackers of each kind.
const EACH: usize = 2;

/// What is published without a topic goes to one of the connection's own, whose history outlives it: so histories are
/// bounded, for attackers that always come back.
const OPTIONS: &[&str] = &["--inbound-rate", "1000", "--inbound-burst", "2000", "--history-bytes", "32MiB"];

/// Something that no client may send.
struct Kind {
    name: &'static str,
    /// Written again and again.
    bytes: Vec<u8>,
    /// How the connection may end.
    codes: &'static [&'static str],
}

fn kinds() -> Vec<Kind> {
    let kind = |name, bytes, codes| Kind { name, bytes, codes };
    let mut unmasked = client_frame(true, b"{}");
    unmasked[1] &= 0x7f;
    let mut huge = vec![0x82, 0xff];
    huge.extend((1_u64 << 40).to_be_bytes());
    huge.extend([1, 2, 3, 4]);
    vec![
        kind("bad UTF-8", client_frame(true, b"{\"t\":\"\xff\xfe\"}"), &["1007"]),
        kind("2 MiB in one frame", client_frame(false, &vec![b'x'; 2 << 20]), &["1009"]),
        kind("a frame of 2^40 bytes", huge, &["1009"]),
        kind("no mask", unmasked, &["1002"]),
        kind("reserved bits", vec![0xf1, 0x80, 0, 0, 0, 0], &["1002"]),
        kind("frames of random bytes", random_frames(), &["1008"]),
        kind("broken JSON", client_frame(true, b"{\"t\":\"x\",").repeat(64), &["1008"]),
        kind("random bytes", random(64 << 10), &["1002", "1007", "1008", "1009"]),
        kind("good messages, too many", client_frame(true, b"{\"t\":\"x\",\"p\":1}").repeat(64), &["4429"]),
        kind("pings, too many", client_frame(true, b"{\"t\":\"ping\",\"p\":{}}").repeat(64), &["4429"]),
    ]
}

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let lasts = Duration::from_secs(setup.pick(4, 20));
    let arena = Arena::open(setup, OPTIONS).await?;
    let addr = arena.server.server.address;
    let kinds = kinds();
    let until = Instant::now() + lasts;
    let mut attack = JoinSet::new();
    for (number, kind) in kinds.iter().enumerate() {
        for _ in 0..EACH {
            let bytes: Arc<[u8]> = kind.bytes.as_slice().into();
            attack.spawn_on(async move { (number, throw(addr, bytes, until).await) }, attackers());
        }
    }
    let mut tallies: Vec<Tally> = kinds.iter().map(|_| Tally::default()).collect();
    while let Some(done) = attack.join_next().await {
        let (number, tally) = done?;
        tallies[number].join(&tally);
    }
    let connections: u64 = tallies.iter().map(Tally::sum).sum();
    for (kind, tally) in kinds.iter().zip(&tallies) {
        // A socket that is reset while its client still writes loses the close frame on the way: counted, and few.
        let right: u64 = kind.codes.iter().map(|code| tally.of(code)).sum();
        let silent = tally.of("no close frame");
        let holds = right > 0 && right + silent == tally.sum() && silent <= right;
        sheet.check(kind.name, tally, format_args!("{}; at most half without", kind.codes.join(", ")), holds);
    }
    let each = arena.server.cpu_seconds()? * 1e6 / connections.max(1) as f64;
    sheet.most(
        "server: CPU for each connection, control group included",
        Of(each, "µs"),
        Of(setup.pick(100_000.0, 20_000.0), "µs"),
    );
    let bytes = arena.server.counter("bytes_received").await? as f64 / lasts.as_secs_f64();
    sheet.note("read from all a second", Of(bytes / f64::from(1 << 20), "MiB"));
    // Histories of 32 MiB, as they are counted, and three times that for what the allocator keeps around them.
    arena.close(sheet, 192.0).await
}

async fn throw(addr: SocketAddr, bytes: Arc<[u8]>, until: Instant) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < until {
        let Ok(Raw { mut reader, mut writer }) = Raw::open(addr, 0).await else {
            tally.add("not let in");
            continue;
        };
        let bytes = Arc::clone(&bytes);
        let writing = tokio::spawn(async move { while writer.write_all(&bytes).await.is_ok() {} });
        let ending = reader.ending(Duration::from_secs(10)).await;
        writing.abort();
        tally.add(ending.word());
    }
    tally
}

/// Frames in order, with content that is none.
fn random_frames() -> Vec<u8> {
    random(16 << 10).chunks(256).flat_map(|chunk| client_frame(false, chunk)).collect()
}

/// The same bytes in each run (xorshift64).
fn random(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| step()).collect()
}
