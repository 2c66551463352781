//! The one table of settings. Their order is that of the documentation, and that in which they are set.

use super::{
    Kind::{Flag, List, Secret, Value},
    Setting,
    value::{Bytes, Form, Plain},
};

macro_rules! setting {
    ($kind:ident, $name:literal, $placeholder:literal, $($field:ident).+, $help:literal) => {
        setting!($kind, $name, $placeholder, $($field).+ as Plain, $help)
    };
    ($kind:ident, $name:literal, $placeholder:literal, $($field:ident).+ as $form:ident, $help:literal) => {
        Setting {
            name: $name,
            kind: $kind,
            placeholder: $placeholder,
            help: $help,
            set: |to, text| $form::parse(text).map(|value| to.$($field).+ = value),
            show: |from| $form::show(&from.$($field).+),
        }
    };
}

/// What belongs together, each from the setting with this name on.
pub(super) static GROUPS: &[(&str, &str)] = &[
    ("host", "Port and TLS"),
    ("jwt_secret", "Who may come in"),
    ("static", "Pages"),
    ("max_connections", "Limits of clients"),
    ("memory_budget", "Memory and queues"),
    ("history_messages", "History and presence"),
    ("ping_interval", "Life of a connection"),
    ("drain_delay", "Going away"),
    ("log", "Log"),
];

/// Every setting of the program `wse-server`.
pub static SETTINGS: &[Setting] = &[
    setting!(Value, "host", "HOST", server.host, "Name or address to listen on; 0.0.0.0 for all."),
    setting!(Value, "port", "PORT", server.port, "Port; 0 takes any free one, which the log then tells."),
    setting!(
        Value,
        "tls_certificate",
        "FILE",
        server.tls_certificate,
        "Certificate chain (PEM): with it and its key the port speaks TLS. Files that change are read again."
    ),
    setting!(Value, "tls_key", "FILE", server.tls_key, "Private key (PEM) of the certificate."),
    setting!(
        Secret,
        "jwt_secret",
        "SECRET",
        server.jwt_secret,
        "HMAC key of the tokens that clients must bring, 32 bytes or more. Without it and jwt_keys the server is open, on \
         loopback only. Prefer the variable: flags are visible to other users of the machine."
    ),
    setting!(
        Secret,
        "jwt_previous_secret",
        "SECRET",
        server.jwt_previous_secret,
        "The secret that jwt_secret replaced; its tokens are accepted until it is taken out."
    ),
    setting!(
        List,
        "jwt_keys",
        "FILES",
        server.jwt_keys,
        "Files of keys for tokens, separated by commas: JWK sets (JSON) or public keys (PEM), for RS256, ES256 and HS256. \
         Files that change are read again."
    ),
    setting!(
        Value,
        "jwt_skew",
        "TIME",
        server.jwt_skew,
        "How far the clocks of who signs tokens and of this server may be apart."
    ),
    setting!(
        Value,
        "jwt_cookie",
        "NAME",
        server.jwt_cookie,
        "Name of the cookie in which a token is looked for first."
    ),
    setting!(Value, "jwt_issuer", "ISSUER", server.jwt_issuer, "The `iss` that tokens must have; not checked without."),
    setting!(
        Value,
        "jwt_audience",
        "AUDIENCE",
        server.jwt_audience,
        "The `aud` that tokens must have; not checked without."
    ),
    setting!(
        Secret,
        "api_key",
        "KEY",
        server.api_key,
        "Key of the HTTP API and of the console; make it 16 random bytes or more. Without it those work only on an open server \
         on loopback, and POST /wse/tokens not at all."
    ),
    setting!(
        Secret,
        "signing_key",
        "KEY",
        server.signing_key,
        "Key of signed messages, 32 bytes or more: what clients that know it publish is checked."
    ),
    setting!(
        Value,
        "verification",
        "WHAT",
        server.verification,
        "What is done about signatures of clients, with a signing_key: off, if_present (a wrong one is refused), or required."
    ),
    setting!(
        List,
        "signed_types",
        "TYPES",
        server.signed_types,
        "Types of messages to single clients that are signed, with a signing_key."
    ),
    setting!(
        Secret,
        "token_key",
        "KEY",
        server.token_key,
        "Key of session and channel tokens, 32 bytes or more, which only servers know; without it there are no such tokens."
    ),
    setting!(
        Flag,
        "allow_open",
        "BOOL",
        server.allow_open,
        "Allow running without a secret on an address that others can reach."
    ),
    setting!(
        List,
        "allowed_origins",
        "ORIGINS",
        server.allowed_origins,
        "Origins from which browsers may connect, like https://app.example.com. Without: all, but only pages of this machine and of \
         allowed_hosts for an open server on loopback."
    ),
    setting!(
        List,
        "allowed_hosts",
        "HOSTS",
        server.allowed_hosts,
        "Names by which clients may call this server (`Host` header). Without: any, but only names of this machine for \
         an open server on loopback, so that no web page can reach it by a name of its own."
    ),
    setting!(
        Value,
        "static",
        "DIR",
        server.static_dir,
        "Folder whose files are served at / (for example a built web app)."
    ),
    setting!(
        Flag,
        "console",
        "BOOL",
        server.console,
        "Whether the page /console is there. It shows nothing without the api_key, except on an open server on loopback."
    ),
    setting!(
        Value,
        "max_connections",
        "N",
        server.max_connections,
        "Most connections at a time; the next client is told to try later (close code 1013)."
    ),
    setting!(
        Value,
        "max_connections_per_address",
        "N",
        server.max_connections_per_address,
        "Most connections at a time from one address; no bound without."
    ),
    setting!(
        List,
        "trusted_proxies",
        "NETWORKS",
        server.trusted_proxies,
        "Addresses or networks like 10.0.0.0/8 of proxies whose X-Forwarded-For names the client."
    ),
    setting!(
        Value,
        "max_handshakes",
        "N",
        server.max_handshakes,
        "Most sockets at a time that are no WebSocket (yet): handshakes and HTTP requests; more are closed at once. One \
         address gets a quarter of them."
    ),
    setting!(
        Value,
        "handshake_timeout",
        "TIME",
        server.handshake_timeout,
        "How long a client may take for a TLS handshake, a request head, or a request body."
    ),
    setting!(
        Value,
        "write_timeout",
        "TIME",
        server.write_timeout,
        "How long a client may take nothing of what is written to it, before it is given up."
    ),
    setting!(
        Value,
        "max_message_size",
        "BYTES",
        server.max_message_size as Bytes,
        "Largest message of a client, before and after inflating."
    ),
    setting!(
        Value,
        "max_topics_per_connection",
        "N",
        server.max_topics_per_connection,
        "Most topics and patterns that one connection may subscribe to."
    ),
    setting!(
        Value,
        "inbound_rate",
        "N",
        server.inbound_rate,
        "Messages a second that one client may send in the long run; no bound without. More are refused, and a client \
         that goes on is closed (code 4429)."
    ),
    setting!(
        Value,
        "inbound_burst",
        "N",
        server.inbound_burst,
        "Messages that one client may send at once, where there is a rate."
    ),
    setting!(
        Value,
        "outbound_rate",
        "N",
        server.outbound_rate,
        "Messages a second that one client is sent in the long run; no bound without. More wait."
    ),
    setting!(
        Value,
        "outbound_burst",
        "N",
        server.outbound_burst,
        "Messages that one client is sent at once, where there is a rate."
    ),
    setting!(Value, "max_topics", "N", server.max_topics, "Most topics that are remembered at a time."),
    setting!(
        Value,
        "memory_budget",
        "BYTES",
        server.memory_budget as Bytes,
        "Most bytes that messages may hold in all (rings, histories, queues); docs/operations.md says what is refused first."
    ),
    setting!(
        Value,
        "max_queue_bytes",
        "BYTES",
        server.max_queue_bytes as Bytes,
        "Most bytes that may wait for one connection alone, at least four times max_message_size if not set; above it the \
         connection is closed (code 1013)."
    ),
    setting!(
        Value,
        "queue_messages",
        "N",
        server.queue_messages,
        "Most messages that wait for one connection alone; above it, less urgent ones make room or the newest is refused."
    ),
    setting!(
        Value,
        "batch_size",
        "N",
        server.batch_size,
        "Most messages to one client in one frame, for clients that can read that."
    ),
    setting!(
        Value,
        "batch_timeout",
        "TIME",
        server.batch_timeout,
        "How long a message to one client waits for others to share its frame; 0 joins only those that wait anyway."
    ),
    setting!(
        Value,
        "ring_messages",
        "N",
        server.ring_messages,
        "Most messages that a topic holds for subscribers that are behind; who falls further behind is told what it lost."
    ),
    setting!(
        Value,
        "ring_bytes",
        "BYTES",
        server.ring_bytes as Bytes,
        "Most bytes that a topic holds for subscribers that are behind."
    ),
    setting!(
        Value,
        "flush_interval",
        "TIME",
        server.flush_interval,
        "Least time between two writes of topic messages to one busy connection; 0 writes each at once."
    ),
    setting!(
        Value,
        "history_messages",
        "N",
        server.history_messages,
        "Messages of each topic that are kept for clients that come back; 0 for none."
    ),
    setting!(
        Value,
        "history_age",
        "TIME",
        server.history_age,
        "How long a message is kept for clients that come back."
    ),
    setting!(
        Value,
        "history_bytes",
        "BYTES",
        server.history_bytes as Bytes,
        "Most bytes that all topics may hold together, at least eight times max_message_size; above it histories that were \
         used longest ago go first."
    ),
    setting!(
        List,
        "presence_topics",
        "TOPICS",
        server.presence_topics,
        "Topics (patterns, too) in which users can be seen by others, if they ask for it; none with an empty list."
    ),
    setting!(
        Value,
        "presence_linger",
        "TIME",
        server.presence_linger,
        "How long a user is still seen in a topic after its last connection broke."
    ),
    setting!(
        Value,
        "presence_bytes",
        "BYTES",
        server.presence_bytes as Bytes,
        "Most bytes that users who are seen take together; more are refused."
    ),
    setting!(Value, "ping_interval", "TIME", server.ping_interval, "Time between pings of the server."),
    setting!(Flag, "heartbeat", "BOOL", server.heartbeat, "Whether a heartbeat message goes out with each ping."),
    setting!(
        Value,
        "health_interval",
        "TIME",
        server.health_interval,
        "Time between looks at the network of each client, which is told when it has become bad or well again."
    ),
    setting!(
        Value,
        "metrics_interval",
        "TIME",
        server.metrics_interval,
        "Time over which the rates of each connection are measured, in whole pings."
    ),
    setting!(
        Value,
        "idle_timeout",
        "TIME",
        server.idle_timeout,
        "Silence that ends a connection; longer than ping_interval."
    ),
    Setting {
        name: "compression",
        kind: Flag,
        placeholder: "BOOL",
        help: "Whether large messages are compressed for clients that can read that.",
        set: |to, text| {
            let wanted: bool = Plain::parse(text)?;
            to.server.compression = wanted.then(|| to.server.compression.unwrap_or_default());
            Ok(())
        },
        show: |from| Plain::show(&from.server.compression.is_some()),
    },
    Setting {
        name: "compression_threshold",
        kind: Value,
        placeholder: "BYTES",
        help: "Messages over this size are compressed.",
        set: |to, text| {
            let bytes = Bytes::parse(text)?;
            if let Some(compression) = &mut to.server.compression {
                compression.threshold = bytes;
            }
            Ok(())
        },
        show: |from| from.server.compression.as_ref().and_then(|compression| Bytes::show(&compression.threshold)),
    },
    Setting {
        name: "compression_level",
        kind: Value,
        placeholder: "N",
        help: "How hard to compress, from 1 (fast) to 9 (small).",
        set: |to, text| {
            let level: u32 = Plain::parse(text)?;
            if !(1..=9).contains(&level) {
                return Err("must be from 1 to 9".into());
            }
            if let Some(compression) = &mut to.server.compression {
                compression.level = level;
            }
            Ok(())
        },
        show: |from| from.server.compression.as_ref().and_then(|compression| Plain::show(&compression.level)),
    },
    setting!(Flag, "encryption", "BOOL", server.encryption, "Whether clients that ask for encryption get it."),
    setting!(
        Value,
        "drain_delay",
        "TIME",
        server.drain_delay,
        "At a shutdown: how long /wse/ready says no before the first client is sent away. Behind a load balancer, longer \
         than it takes to notice."
    ),
    setting!(
        Value,
        "drain_window",
        "TIME",
        server.drain_window,
        "At a shutdown: clients are sent away, and come back, spread over this time."
    ),
    setting!(
        Value,
        "drain_retry_after",
        "TIME",
        server.drain_retry_after,
        "At a shutdown: clients come back this long after the last one was sent away; about the time of a restart."
    ),
    setting!(
        Flag,
        "drain_handover",
        "BOOL",
        server.drain_handover,
        "At a shutdown: other instances take the clients, so that they may come back at once, while others are still here."
    ),
    setting!(
        Value,
        "shutdown_timeout",
        "TIME",
        server.shutdown_timeout,
        "At a shutdown: how long clients may take to read what is queued for them, after the last one was sent away."
    ),
    setting!(
        Value,
        "log",
        "FILTER",
        log,
        "What to log: error, warn, info, debug, trace, or a filter like `info,wse_server=debug`; also --log-level, and RUST_LOG when nothing else says it."
    ),
    setting!(Value, "log_format", "FORMAT", log_format, "How to log: text, or json for one object in each line."),
];
