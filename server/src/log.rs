//! The log of the binary: lines for people, or JSON for programs. To standard error, so that output stays output.

use std::{
    fmt,
    io::{IsTerminal as _, stderr},
};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use wse_server::settings::LogFormat;

/// Variable that other programs know too; counts when nothing else says what to log.
const RUST_LOG: &str = "RUST_LOG";

/// What to log: what was said, or else `RUST_LOG`.
pub(crate) fn filter_text(said: Option<&str>, variable: Option<String>, default: &str) -> String {
    let variable = variable.filter(|text| !text.trim().is_empty());
    said.map(str::to_owned).or(variable).unwrap_or_else(|| default.to_owned())
}

/// The value of `RUST_LOG`.
pub(crate) fn variable() -> Option<String> {
    std::env::var(RUST_LOG).ok()
}

/// Reads a filter of log lines.
pub(crate) fn check(filter: &str) -> anyhow::Result<EnvFilter> {
    let refused = |why: &dyn fmt::Display| anyhow::anyhow!("log (--log-level, WSE_LOG, {RUST_LOG}) {filter:?}: {why}");
    // A word alone is taken for the name of a module, of which alone there would be lines then.
    let is_level = |word: &str| word.is_empty() || word.contains(['=', '[']) || word.parse::<LevelFilter>().is_ok();
    if let Some(word) = filter.split(',').map(str::trim).find(|word| !is_level(word)) {
        return Err(refused(&format_args!("{word:?} is neither error, warn, info, debug, trace nor MODULE=LEVEL")));
    }
    EnvFilter::try_new(filter).map_err(|error| refused(&error))
}

/// Starts to log.
pub(crate) fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let lines = tracing_subscriber::fmt().with_env_filter(check(filter)?).with_writer(stderr);
    match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_counts_before_the_variable() {
        let variable = || Some("debug".to_owned());
        assert_eq!(filter_text(Some("warn"), variable(), "info"), "warn");
        assert_eq!(filter_text(None, variable(), "info"), "debug");
        assert_eq!(filter_text(None, Some(" ".into()), "info"), "info");
        assert_eq!(filter_text(None, None, "info"), "info");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        check("info,wse_server=debug").expect("a filter");
        check("off").expect("a level");
        check("INFO,hyper=off,wse_server[x{y=1}]=debug").expect("a filter");
        for filter in ["wse_server=loud", "wran", "info,loud"] {
            let error = check(filter).expect_err("no level").to_string();
            assert!(error.contains("--log-level"), "{error}");
        }
    }
}
