//! Build, test and release recipes: `cargo xtask <name>`.

mod wasm;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("wasm") => wasm::build(),
        _ => anyhow::bail!("usage: cargo xtask wasm"),
    }
}
