//! Slow loris: requests that come byte by byte and never end.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use wse_e2e::server::API_KEY;

use crate::{
    Setup,
    control::Arena,
    raw::{Raw, Tally, connect},
    sheet::{Of, Sheet},
};

/// Sockets at a time, and how many the server wants to see.
const ATTACKERS: usize = 200;
const PENDING: &str = "128";

/// How long the server lets a request take.
const PATIENCE: f64 = 2.0;

/// What each socket sends, a byte at a time.
#[derive(Debug, Clone, Copy)]
enum Way {
    Head,
    Body,
    Silence,
}

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let lasts = Duration::from_secs(setup.pick(6, 30));
    let beat = Duration::from_millis(setup.pick(250, 1000));
    let options = ["--max-handshakes", PENDING, "--handshake-timeout", "2s", "--max-connections", "1000"];
    let arena = Arena::open(setup, &options).await?;
    let addr = arena.server.server.address;
    let end = Instant::now() + lasts;
    let mut attack = JoinSet::new();
    for number in 0..ATTACKERS {
        let way = [Way::Head, Way::Body, Way::Silence][number % 3];
        attack.spawn(drip_until(addr, end, way, beat));
    }
    let newcomers = newcomers(addr, end).await;
    let (mut tally, mut longest) = (Tally::default(), 0.0_f64);
    while let Some(done) = attack.join_next().await {
        let (part, life) = done?;
        tally.join(&part);
        longest = longest.max(life);
    }
    sheet.note("sockets of the attack, and how they ended", &tally);
    sheet.most("the longest that one was tolerated", Of(longest, "s"), Of(PATIENCE + 3.0, "s"));
    sheet.least("slow bodies that were answered with 408", tally.of("body: HTTP 408"), 1);
    sheet.least("sockets over the bound, closed at once", arena.server.counter("refused_sockets").await?, 1);
    sheet.note("newcomers while all places were taken", &newcomers);
    // New places come free as those of the attack run out.
    let began = Instant::now();
    while !is_let_in(addr).await && began.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed().as_secs_f64();
    sheet.most("afterwards a newcomer is let in after", Of(took, "s"), Of(PATIENCE + 3.0, "s"));
    let share = 100.0 * arena.server.cpu_seconds()? / lasts.as_secs_f64();
    sheet.most("server: CPU during the attack, control group included", Of(share, "%"), Of(100.0, "%"));
    arena.close(sheet, 32.0).await
}

async fn drip_until(addr: SocketAddr, end: Instant, way: Way, beat: Duration) -> (Tally, f64) {
    let (mut tally, mut longest) = (Tally::default(), 0.0_f64);
    while Instant::now() < end {
        let began = Instant::now();
        let Ok(stream) = connect(addr, 0).await else { continue };
        let how = drip(stream, way, beat).await;
        longest = longest.max(began.elapsed().as_secs_f64());
        if began.elapsed() < Duration::from_millis(500) {
            tally.add("closed at once");
            sleep(Duration::from_millis(200)).await;
        } else {
            tally.add(how);
        }
    }
    (tally, longest)
}

/// Sends until the server ends it, and says how it did.
async fn drip(mut stream: TcpStream, way: Way, beat: Duration) -> String {
    let (name, start) = match way {
        Way::Head => ("head", "GET /wse HTTP/1.1\r\nHost: localhost\r\nX-Slow: "),
        Way::Body => (
            "body",
            "POST /wse/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: KEY\r\nContent-Length: 1000\r\n\r\n{\"topic\":\"",
        ),
        Way::Silence => ("silence", ""),
    };
    let mut sent = stream.write_all(start.replace("KEY", API_KEY).as_bytes()).await.is_ok();
    let mut answer = Vec::new();
    loop {
        let mut room = [0; 1024];
        match timeout(beat, stream.read(&mut room)).await {
            Ok(Ok(count)) if count > 0 => answer.extend_from_slice(&room[..count]),
            Ok(_) => break,
            Err(_) if !sent => break,
            Err(_) if matches!(way, Way::Silence) => {}
            Err(_) => sent = stream.write_all(b"x").await.is_ok(),
        }
    }
    match String::from_utf8_lossy(&answer).split(' ').nth(1) {
        Some(status) => format!("{name}: HTTP {status}"),
        None => format!("{name}: closed"),
    }
}

async fn newcomers(addr: SocketAddr, end: Instant) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < end {
        tally.add(if is_let_in(addr).await { "let in" } else { "turned away" });
        sleep(Duration::from_millis(100)).await;
    }
    tally
}

async fn is_let_in(addr: SocketAddr) -> bool {
    let coming = async { Raw::open(addr, 0).await?.reader.wait_for("\"server_ready\"").await };
    timeout(Duration::from_secs(2), coming).await.is_ok_and(|came| came.is_ok())
}
