#![allow(clippy::print_stdout, reason = "a program for people")]
//! `wse-fuzz run TARGET FILE…` plays inputs again; `wse-fuzz seed` makes the corpora from `tests/vectors`.

mod seeds;

use std::process::ExitCode;

use wse_fuzz::{TARGETS, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["run", target, files @ ..] if TARGETS.iter().any(|known| known.name == *target) => replay(target, files),
        ["seed"] => seeds::write(),
        _ => {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("usage: wse-fuzz run TARGET FILE... | wse-fuzz seed\ntargets: {}", names.join(", "));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Panics where the target does.
fn replay(target: &str, files: &[&str]) {
    for file in files {
        let data = std::fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        println!("{target} {file}: {} bytes", data.len());
        run(target, &data);
    }
}
