//! Flags and environment variables of the binary.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use wse_server::{Acl, Config, Secret, TokenClaims, TokenKey};

const EXAMPLES: &str = "\
Examples:
  Try it on this machine, without tokens; then open http://127.0.0.1:5006/console:
    wse-server

  Ask for tokens (HS256), and make one for the user alice:
    export WSE_JWT_SECRET=$(openssl rand -hex 32)
    wse-server --host 0.0.0.0 --api-key \"$KEY\" --allowed-origins https://app.example.com
    wse-server token --sub alice --ttl 3600

  Publish from any program that speaks HTTP:
    curl -H \"Authorization: Bearer $KEY\" \\
         -d '{\"topic\":\"news\",\"type\":\"hello\",\"payload\":{\"n\":1}}' http://127.0.0.1:5006/wse/publish

  Serve a web page from the same port:
    wse-server --static ./dist";

const TOKEN_EXAMPLES: &str = "\
Examples:
  wse-server token --secret \"$WSE_JWT_SECRET\" --sub alice --ttl 3600 \\
             --topics-allow 'prices.*,news' --publish-allow 'chat.*'

  With a key pair, of which the server has the public half (--jwt-keys public.pem):
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out private.pem
    openssl pkey -in private.pem -pubout -out public.pem
    wse-server token --key private.pem --sub alice";

/// Real-time messaging server: WebSocket at /wse, topics with globs, HTTP publish, live console.
#[derive(Debug, Parser)]
#[command(name = "wse-server", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a token for a user and exit.
    ///
    /// A server with the same secret, or with the public key, accepts it.
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(TokenFlags),
}

/// Flags of the server.
#[derive(Debug, Args)]
pub(crate) struct ServerFlags {
    /// Name or address to listen on; 0.0.0.0 for all.
    #[arg(long, env = "WSE_HOST", default_value = "127.0.0.1")]
    host: String,

    /// Port; 0 takes any free one, which the log then tells.
    #[arg(long, env = "WSE_PORT", default_value_t = 5006)]
    port: u16,

    /// HMAC key of the tokens that clients must bring, 32 bytes or more. Without it and --jwt-keys the server is open, on
    /// loopback only. Prefer the variable: flags are visible to other users of the machine.
    #[arg(long, env = "WSE_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    jwt_secret: Option<String>,

    /// The secret that the present one replaced; its tokens are accepted until it is taken out.
    #[arg(long, env = "WSE_JWT_PREVIOUS_SECRET", hide_env_values = true, value_name = "SECRET")]
    jwt_previous_secret: Option<String>,

    /// Files of keys for tokens, separated by commas: JWK sets (JSON) or public keys in PEM, for RS256, ES256 and HS256. Read
    /// anew when they change.
    #[arg(long, env = "WSE_JWT_KEYS", value_delimiter = ',', value_name = "FILES")]
    jwt_keys: Vec<PathBuf>,

    /// Seconds that the clocks of who signs tokens and of this server may be apart.
    #[arg(long, env = "WSE_JWT_SKEW", default_value_t = Config::default().jwt_skew.as_secs(), value_name = "SECONDS")]
    jwt_skew: u64,

    /// Name of the cookie in which a token is looked for first.
    #[arg(long, env = "WSE_JWT_COOKIE", default_value_t = Config::default().jwt_cookie, value_name = "NAME")]
    jwt_cookie: String,

    /// The `iss` that tokens must have [default: not checked].
    #[arg(long, env = "WSE_JWT_ISSUER", value_name = "ISSUER")]
    jwt_issuer: Option<String>,

    /// The `aud` that tokens must have [default: not checked].
    #[arg(long, env = "WSE_JWT_AUDIENCE", value_name = "AUDIENCE")]
    jwt_audience: Option<String>,

    /// Key for POST /wse/publish and /wse/tokens; make it 16 random bytes or more. Without it publishing works only on an open
    /// server on loopback, and tokens are not given out.
    #[arg(long, env = "WSE_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,

    /// Key of signed messages, 32 bytes or more: what clients that know it publish is checked.
    #[arg(long, env = "WSE_SIGNING_KEY", hide_env_values = true, value_name = "KEY")]
    signing_key: Option<String>,

    /// Allow running without a secret on an address that others can reach.
    #[arg(long, env = "WSE_ALLOW_OPEN", value_parser = clap::builder::FalseyValueParser::new())]
    allow_open: bool,

    /// Origins from which browsers may connect, separated by commas, like https://app.example.com [default: all].
    #[arg(long, env = "WSE_ALLOWED_ORIGINS", value_delimiter = ',', value_name = "ORIGINS")]
    allowed_origins: Vec<String>,

    /// Folder whose files are served at / (for example a built web app).
    #[arg(long = "static", env = "WSE_STATIC", value_name = "DIR")]
    static_dir: Option<PathBuf>,

    /// Most connections at a time; the next client is told to try later (close code 1013).
    #[arg(long, env = "WSE_MAX_CONNECTIONS", default_value_t = Config::default().max_connections, value_name = "N")]
    max_connections: usize,

    /// Largest message of a client in bytes, before and after inflating.
    #[arg(long, env = "WSE_MAX_MESSAGE_SIZE", default_value_t = Config::default().max_message_size, value_name = "BYTES")]
    max_message_size: usize,

    /// Most messages that a topic holds for subscribers that are behind; who falls further behind is told what it lost.
    #[arg(long, env = "WSE_RING_MESSAGES", default_value_t = Config::default().ring_messages, value_name = "N")]
    ring_messages: usize,

    /// Most bytes that a topic holds for subscribers that are behind.
    #[arg(long, env = "WSE_RING_BYTES", default_value_t = Config::default().ring_bytes, value_name = "BYTES")]
    ring_bytes: usize,

    /// Least time, in milliseconds, between two writes of topic messages to one busy connection; 0 writes each at once.
    #[arg(long, env = "WSE_FLUSH_INTERVAL_MS", default_value_t = Config::default().flush_interval.as_millis() as u64, value_name = "MS")]
    flush_interval_ms: u64,

    /// Messages of each topic that are kept for clients that come back; 0 for none.
    #[arg(long, env = "WSE_HISTORY_MESSAGES", default_value_t = Config::default().history_messages, value_name = "N")]
    history_messages: usize,

    /// How long, in seconds, a message is kept for clients that come back.
    #[arg(long, env = "WSE_HISTORY_SECONDS", default_value_t = Config::default().history_age.as_secs(), value_name = "SECONDS")]
    history_seconds: u64,

    /// What to log: error, warn, info, debug, trace, or a filter like `info,wse_server=debug`.
    #[arg(long, env = "WSE_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

impl ServerFlags {
    /// The settings of the library.
    pub(crate) fn into_config(self) -> Config {
        Config {
            host: self.host,
            port: self.port,
            jwt_secret: self.jwt_secret.map(Secret::from),
            jwt_previous_secret: self.jwt_previous_secret.map(Secret::from),
            jwt_keys: self.jwt_keys,
            jwt_skew: Duration::from_secs(self.jwt_skew),
            jwt_cookie: self.jwt_cookie,
            jwt_issuer: self.jwt_issuer,
            jwt_audience: self.jwt_audience,
            api_key: self.api_key.map(Secret::from),
            signing_key: self.signing_key.map(Into::into),
            allow_open: self.allow_open,
            allowed_origins: self.allowed_origins,
            max_connections: self.max_connections,
            max_message_size: self.max_message_size,
            max_queue_bytes: Config::default().max_queue_bytes.max(self.max_message_size.saturating_mul(4)),
            ring_messages: self.ring_messages,
            flush_interval: Duration::from_millis(self.flush_interval_ms),
            history_messages: self.history_messages,
            history_age: Duration::from_secs(self.history_seconds),
            ring_bytes: self.ring_bytes,
            static_dir: self.static_dir,
            ..Config::default()
        }
    }
}

/// Flags of `wse-server token`.
#[derive(Debug, Args)]
pub(crate) struct TokenFlags {
    /// HMAC key, the same as the server's, 32 bytes or more: signs with HS256.
    #[arg(long, env = "WSE_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    secret: Option<String>,

    /// File with a private key in PEM, instead of a secret: an RSA key signs with RS256, one of the curve P-256 with ES256.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Name of the key, to be written into the token's header as `kid`.
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,

    /// The user that the token is for.
    #[arg(long, value_name = "USER")]
    sub: String,

    /// Seconds that the token is valid, at most ten years.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=315_360_000))]
    ttl: u64,

    /// The `iss` to write.
    #[arg(long, env = "WSE_JWT_ISSUER", value_name = "ISSUER")]
    issuer: Option<String>,

    /// The `aud` to write.
    #[arg(long, env = "WSE_JWT_AUDIENCE", value_name = "AUDIENCE")]
    audience: Option<String>,

    /// Topics the user may subscribe to, globs separated by commas [default: all].
    #[arg(long, value_delimiter = ',', value_name = "GLOBS")]
    topics_allow: Vec<String>,

    /// Topics the user may not subscribe to, whatever is allowed.
    #[arg(long, value_delimiter = ',', value_name = "GLOBS")]
    topics_deny: Vec<String>,

    /// Topics the user may publish to, globs separated by commas [default: none].
    #[arg(long, value_delimiter = ',', value_name = "GLOBS")]
    publish_allow: Vec<String>,

    /// Topics the user may not publish to, whatever is allowed.
    #[arg(long, value_delimiter = ',', value_name = "GLOBS", requires = "publish_allow")]
    publish_deny: Vec<String>,
}

impl TokenFlags {
    /// The token.
    pub(crate) fn sign(&self) -> anyhow::Result<String> {
        let key = match (&self.key, &self.secret) {
            (Some(path), _) => {
                let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                TokenKey::from_pem(&text.into()).with_context(|| path.display().to_string())?
            }
            (None, Some(secret)) => TokenKey::from_secret(&secret.as_str().into())?,
            (None, None) => anyhow::bail!("--secret or --key is needed"),
        };
        let key = match &self.kid {
            Some(kid) => key.with_kid(kid),
            None => key,
        };
        Ok(key.sign(&self.claims())?)
    }

    fn claims(&self) -> TokenClaims {
        TokenClaims {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            topics: acl(&self.topics_allow, &self.topics_deny),
            publish: acl(&self.publish_allow, &self.publish_deny),
            ..TokenClaims::new(&self.sub, Duration::from_secs(self.ttl))
        }
    }
}

/// No list at all is no claim.
fn acl(allow: &[String], deny: &[String]) -> Option<Acl> {
    (!allow.is_empty() || !deny.is_empty()).then(|| Acl { allow: allow.to_vec(), deny: deny.to_vec() })
}

/// Log lines to standard error, so that output stays output.
pub(crate) fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| anyhow::anyhow!("--log {filter:?}: {error}"))?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let arguments = Arguments::parse_from(["wse-server"]);
        let (flags, library) = (arguments.server.into_config(), Config::default());
        assert_eq!(format!("{flags:?}"), format!("{library:?}"));
    }

    #[test]
    fn unknown_flags_are_refused_with_a_suggestion() {
        let error = Arguments::try_parse_from(["wse-server", "--prot", "1"]).expect_err("unknown");
        assert!(error.to_string().contains("--port"), "{error}");
    }
}
