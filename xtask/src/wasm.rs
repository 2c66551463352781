//! `cargo xtask wasm`: the browser build, from Rust to `ts-wrapper/wasm/`.
//!
//! wasm-bindgen runs as a library, so its version is the one in `Cargo.lock` and nothing needs to be installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use wasm_bindgen_cli_support::Bindgen;

const PROFILE: &str = "wasm-release";
const TARGET: &str = "wasm32-unknown-unknown";
/// SHA-256 as a loop: it hashes a few bytes for each key, and unrolled it is ten times as long.
const COMPACT_SHA: &str = r#"--cfg=sha2_backend_soft="compact""#;
/// For size; then the features of WebAssembly that every browser of the last years has, and that rustc uses.
const WASM_OPT: &[&str] = &[
    "-Oz",
    "--converge",
    "--one-caller-inline-max-function-size=0",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// What a browser downloads at most: the module, as gzip sends it.
const MAX_GZIP: u64 = 190 << 10;

/// Builds the crate `wse-wasm`, makes its JavaScript glue, shrinks it when `wasm-opt` is installed in
/// `ts-wrapper/node_modules`, writes everything into `ts-wrapper/wasm/` and prints the sizes.
///
/// # Errors
/// When a tool fails; the message names it. When the module has grown over [`MAX_GZIP`].
pub(crate) fn build() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let out = root.join("ts-wrapper/wasm");
    let input = compile(root)?;
    bind(&input, &out)?;
    let module = out.join("wse_bg.wasm");
    optimize(root, &module)?;
    check_size(&module)
}

fn compile(root: &Path) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--locked", "--package", "wse-wasm", "--target", TARGET, "--profile", PROFILE, "--config"])
        .arg(format!("target.{TARGET}.rustflags={:?}", rust_flags()))
        .status()
        .context("cargo could not be started")?;
    ensure!(status.success(), "cargo build of wse-wasm failed");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    Ok(target.join(TARGET).join(PROFILE).join("wse_wasm.wasm"))
}

/// Paths of this machine are cut off: they would be in the module, for the messages of panics.
fn rust_flags() -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let remap = home.map(|home| format!("--remap-path-prefix={}/=", home.join("registry/src").display()));
    remap.into_iter().chain([COMPACT_SHA.to_owned()]).collect()
}

fn bind(input: &Path, out: &Path) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(input)
        .out_name("wse")
        .typescript(true)
        // The package's entries say where the module is; a default path would send bundlers looking for it.
        .omit_default_module_path(true)
        .keep_debug(false)
        .remove_name_section(true)
        .remove_producers_section(true);
    bindgen.web(true)?;
    bindgen.generate(out).with_context(|| format!("wasm-bindgen on {}", input.display()))
}

fn optimize(root: &Path, module: &Path) -> Result<()> {
    let tool = root.join("ts-wrapper/node_modules/binaryen/bin/wasm-opt");
    if !tool.exists() {
        report("wasm-opt is not installed (npm ci in ts-wrapper brings it): the module stays larger than it need be");
        return Ok(());
    }
    let small = module.with_extension("opt");
    let status = Command::new("node")
        .arg(&tool)
        .arg(module)
        .args(WASM_OPT)
        .arg("-o")
        .arg(&small)
        .status()
        .context("node could not be started for wasm-opt")?;
    ensure!(status.success(), "wasm-opt failed");
    fs::rename(small, module).context("replacing the module")
}

/// Node compresses, because the build needs it anyway.
fn check_size(module: &Path) -> Result<()> {
    const SCRIPT: &str = "const z=require('zlib'),b=require('fs').readFileSync(process.argv[1]);\
        console.log(b.length,z.gzipSync(b,{level:9}).length,z.brotliCompressSync(b).length)";
    let output = Command::new("node").args(["-e", SCRIPT]).arg(module).output().context("node could not be started")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let sizes: Vec<u64> = printed.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [raw, gzip, brotli] = sizes[..] else { bail!("node did not give the sizes of {}", module.display()) };
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    report(&format!("wse_bg.wasm: raw {:.1} KiB, gzip {:.1} KiB, brotli {:.1} KiB", kib(raw), kib(gzip), kib(brotli)));
    ensure!(gzip <= MAX_GZIP, "the module has {gzip} bytes in gzip, at most {MAX_GZIP} are allowed");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn report(line: &str) {
    println!("{line}");
}
