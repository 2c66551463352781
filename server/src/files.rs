//! Open files: each socket is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files beside sockets: standard streams, the runtime, certificates, static files.
const OTHERS: u64 = 64;

/// Raises the limit of open files as far as the system allows, and warns if that is not enough for this many sockets.
pub(crate) fn raise_limit(sockets: usize) {
    let needed = (sockets as u64).saturating_add(OTHERS);
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return tracing::warn!(%error, "the limit of open files is not known"),
    };
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let limit = if raised { hard } else { soft };
    tracing::debug!(limit, needed, "open files");
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            "the system allows fewer open files than max_connections and max_handshakes need: raise it \
             (ulimit -Hn, LimitNOFILE= of systemd) or lower them"
        );
    }
}
