//! Puts the files of the console page into the program, as `cargo xtask console` built them. Where they are not, as on a
//! machine without Node.js, the program is built all the same, and says at `/console` what to do.

use std::{env, fmt::Write as _, fs, path::Path};

/// Set: a program without the page is no good.
const REQUIRED: &str = "WSE_CONSOLE_REQUIRED";

fn main() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("console/dist");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-env-changed={REQUIRED}");
    assert!(
        env::var_os(REQUIRED).is_none() || folder.join("index.html").is_file(),
        "{REQUIRED} is set, and {} has no page: `cargo xtask console` builds it (it needs Node.js)",
        folder.display()
    );
    let mut table = String::from("&[");
    let mut names: Vec<_> =
        fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let name = name.to_string_lossy();
        let Some(kind) = content_type(&name) else { continue };
        let path = folder.join(&*name);
        write!(table, "({name:?}, {kind:?}, include_bytes!({path:?})),").expect("writing to a string");
    }
    table.push(']');
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("console.rs");
    fs::write(&out, table).expect("the build folder can be written to");
}

fn content_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript",
        "css" => "text/css",
        "svg" => "image/svg+xml",
        "wasm" => "application/wasm",
        _ => return None,
    })
}
