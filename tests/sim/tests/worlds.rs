//! A fixed number of worlds, so that `cargo test` sees at once what `make sim` would find.

use wse_sim::{Trace, World, run};

#[test]
fn worlds_are_sound() {
    for seed in 1..=WORLDS {
        if let Err(violation) = run(seed) {
            panic!("world {seed} breaks {violation}\ncargo run -p wse-sim --profile sim -- --seed {seed} --trace");
        }
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
    let mut total = wse_sim::Report::default();
    for seed in 100..110 {
        let report = run(seed).expect("a sound world");
        total.recovered += report.recovered;
        total.lost += report.lost;
        total.connections += report.connections;
        total.heard += report.heard;
    }
    assert!(total.recovered > 50 && total.lost > 10 && total.connections > 50 && total.heard > 50, "{total:?}");
}
