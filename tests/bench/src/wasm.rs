//! How large the browser's module is.

use std::{io::Write as _, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, write::GzEncoder};

use crate::report::{Report, WasmSize};

/// Measures `dist/wse_bg.wasm` of the built npm package.
pub(crate) fn measure(report: &mut Report, package: &Path) -> Result<()> {
    let path = package.join("dist/wse_bg.wasm");
    let module = std::fs::read(&path).with_context(|| format!("{}: build the npm package first", path.display()))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&module)?;
    let size = WasmSize { raw: module.len() as u64, gzip: encoder.finish()?.len() as u64, brotli: brotli_size(&path)? };
    println!("{:<58} {} bytes raw, {} gzip, {} brotli", "wasm module", size.raw, size.gzip, size.brotli);
    report.wasm = Some(size);
    Ok(())
}

/// Node has brotli built in, and is needed for the package anyway.
fn brotli_size(path: &Path) -> Result<u64> {
    let script = "process.stdout.write(String(require('zlib').brotliCompressSync(require('fs').readFileSync(process.argv[1])).length))";
    let output = Command::new("node").args(["-e", script]).arg(path).output().context("node")?;
    ensure!(output.status.success(), "node: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).parse()?)
}
