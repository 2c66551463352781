//! A fixed number of worlds, so that `cargo test` sees at once what `make sim` would find.

use std::panic::catch_unwind;

use wse_sim::{Report, Trace, World, run};

/// Runs a world; whatever is wrong in it, the seed and how to see it again are told.
fn sound(seed: u64) -> Report {
    let rule = match catch_unwind(|| run(seed)) {
        Ok(Ok(report)) => return report,
        Ok(Err(violation)) => violation.to_string(),
        Err(_) => "no-panic: see above".to_owned(),
    };
    panic!("world {seed} breaks {rule}\ncargo run -p wse-sim --profile sim -- --seed {seed} --trace");
}

#[test]
fn worlds_are_sound() {
    for seed in 1..=WORLDS {
        sound(seed);
    }
}

/// Few in a debug build, where each takes long.
const WORLDS: u64 = if cfg!(debug_assertions) { 25 } else { 500 };

#[test]
fn the_same_seed_is_the_same_world() {
    let traced = || {
        let mut world = World::new(11, Trace::all());
        world.run().expect("a sound world");
        world.into_trace()
    };
    let first = traced();
    assert!(first.len() > 100, "something happens in it");
    assert_eq!(first, traced());
}

#[test]
fn worlds_are_eventful() {
    let mut total = Report::default();
    for seed in 100..110 {
        let report = sound(seed);
        total.recovered += report.recovered;
        total.lost += report.lost;
        total.connections += report.connections;
        total.heard += report.heard;
    }
    assert!(total.recovered > 50 && total.lost > 10 && total.connections > 50 && total.heard > 50, "{total:?}");
}
