//! The command line: flags made of the table of settings, and the commands beside serving.

use std::{collections::BTreeMap, ffi::OsString, fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches as _, parser::ValueSource};
use wse_server::{
    Acl, TokenClaims, TokenKey,
    settings::{self, Effective, Kind, SETTINGS, Setting, SettingError, Settings, Source},
};

use crate::log;

const EXAMPLES: &str = "\
Examples:
  Try it on this machine, without tokens; then open http://127.0.0.1:5006/console:
    wse-server

  Ask for tokens (HS256), and make one for the user alice:
    export WSE_JWT_SECRET=$(openssl rand -hex 32) WSE_API_KEY=$(openssl rand -hex 16)
    wse-server token --sub alice --ttl 12h
    wse-server --host 0.0.0.0 --allowed-origins https://app.example.com

  Publish from any program that speaks HTTP:
    curl -H \"Authorization: Bearer $WSE_API_KEY\" \\
         -d '{\"topic\":\"news\",\"type\":\"hello\",\"payload\":{\"n\":1}}' http://127.0.0.1:5006/wse/publish

  Serve a web page from the same port:
    wse-server --static ./dist";

const ABOUT: &str = "Real-time messaging server: WebSocket at /wse, topics with globs, HTTP publish, live console.";

const SOURCES: &str = "\
Every setting is a flag, a variable and a key of the file (--config): --max-connections, WSE_MAX_CONNECTIONS and
max_connections = 500 are the same. A flag counts before a variable, that before the file, that before the default.
Sizes are written like 65536, 64KiB or 16MiB, times like 250ms, 10s, 5m or 12h.";

const TOKEN_EXAMPLES: &str = "\
Examples:
  With the secret in WSE_JWT_SECRET:
    wse-server token --sub alice --ttl 3600 \\
             --topics-allow 'prices.*,news' --publish-allow 'chat.*'

  With a key pair, of which the server has the public half (--jwt-keys public.pem):
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out private.pem
    openssl pkey -in private.pem -pubout -out public.pem
    wse-server token --key private.pem --sub alice";

/// The name of the flag, and of the argument, that names the file.
const CONFIG: &str = "config";

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Task {
    /// Serve.
    Serve(Box<Settings>),
    /// Print the effective settings, and say whether they can be used.
    CheckConfig(Box<Effective>),
    /// Print a token.
    Token(Box<TokenFlags>),
}

/// The whole command line.
fn command() -> Command {
    // Behind the flags, whose own description would stand here otherwise.
    let token = TokenFlags::augment_args(Command::new("token"))
        .about("Print a token for a user and exit.")
        .long_about(
            "Print a token for a user and exit.\n\nA server with the same secret, or with the public key, accepts it.",
        )
        .after_help(TOKEN_EXAMPLES);
    let check = Command::new("check-config")
        .about("Print the settings that would be used, and where each comes from; fail if they cannot be used.")
        .arg(
            Arg::new(CONFIG)
                .value_name("FILE")
                .env("WSE_CONFIG")
                .hide_env_values(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("File (TOML) to check."),
        )
        .args(SETTINGS.iter().map(flag));
    let file = Arg::new(CONFIG).long(CONFIG).value_name("FILE").env("WSE_CONFIG").hide_env_values(true);
    Command::new("wse-server")
        .version(wse_server::VERSION)
        .about(ABOUT)
        .after_help(format!("{SOURCES}\n\n{EXAMPLES}"))
        .args_conflicts_with_subcommands(true)
        .arg(file.value_parser(clap::value_parser!(PathBuf)).help("File (TOML) with settings."))
        .args(SETTINGS.iter().map(flag))
        .subcommand(token)
        .subcommand(check)
}

/// The flag and the variable of a setting. Without a default: what is not given may stand in the file.
fn flag(setting: &Setting) -> Arg {
    let default = setting.show(&Settings::default()).filter(|value| value != "[]");
    let default = default.map_or_else(String::new, |value| format!(" [default: {}]", as_flag(setting.kind, &value)));
    let arg = Arg::new(setting.name)
        .long(setting.flag())
        .env(setting.variable())
        .hide_env_values(true)
        .value_name(setting.placeholder)
        .help_heading(setting.group())
        .help(format!("{}{default}", setting.help));
    let arg = if setting.name == "log" { arg.visible_alias("log-level") } else { arg };
    match setting.kind {
        Kind::Flag => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::List => arg.action(ArgAction::Append),
        Kind::Value | Kind::Secret => arg,
    }
}

/// A value in TOML as the flag wants it.
fn as_flag(kind: Kind, value: &str) -> String {
    match kind {
        Kind::List => value.trim_matches(['[', ']']).replace("\", \"", ",").replace('"', ""),
        Kind::Value | Kind::Flag | Kind::Secret => value.trim_matches('"').to_owned(),
    }
}

/// Reads command line, environment and file.
///
/// # Errors
/// A file that cannot be read, and what is wrong in it or in a variable. Mistakes in flags end the process with a usage
/// line.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Task> {
    let matches = command().get_matches_from(arguments);
    match matches.subcommand() {
        Some(("token", flags)) => {
            let flags = TokenFlags::from_arg_matches(flags).unwrap_or_else(|error| error.exit());
            Ok(Task::Token(Box::new(flags)))
        }
        Some((_, flags)) => Ok(Task::CheckConfig(Box::new(effective(flags)?))),
        None => Ok(Task::Serve(Box::new(effective(&matches)?.settings))),
    }
}

fn effective(matches: &ArgMatches) -> anyhow::Result<Effective> {
    settings::check_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))?;
    let file = match matches.get_one::<PathBuf>(CONFIG) {
        None => BTreeMap::new(),
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            settings::parse_file(&text).with_context(|| path.display().to_string())?
        }
    };
    let mut effective =
        Effective::new(&file, |setting| given(matches, setting)).map_err(|error| in_its_file(error, matches))?;
    let said = (effective.source("log") != Source::Default).then_some(&*effective.settings.log);
    effective.settings.log = log::filter_text(said, log::variable(), &Settings::default().log);
    Ok(effective)
}

/// Flags and variables are told by their names; a key needs the file it stands in.
fn in_its_file(error: SettingError, matches: &ArgMatches) -> anyhow::Error {
    let is_key = matches!(&error, SettingError::Value { name, .. } if Setting::named(name).is_some());
    match matches.get_one::<PathBuf>(CONFIG).filter(|_| is_key) {
        Some(path) => anyhow::Error::new(error).context(path.display().to_string()),
        None => error.into(),
    }
}

fn given(matches: &ArgMatches, setting: &Setting) -> Option<(Source, String)> {
    let source = match matches.value_source(setting.name)? {
        ValueSource::EnvVariable => Source::Environment,
        _ => Source::Flag,
    };
    let values: Vec<&str> = matches.get_many::<String>(setting.name)?.map(String::as_str).collect();
    Some((source, values.join(",")))
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

    /// How long the token is valid: seconds, or like 12h or 30d; from a second to ten years.
    #[arg(long, default_value = "3600", value_name = "TIME", value_parser = ttl)]
    ttl: Duration,

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
            (None, None) => anyhow::bail!(
                "a key to sign with is needed: --secret (better WSE_JWT_SECRET), the same as the server's, or --key"
            ),
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
            ..TokenClaims::new(&self.sub, self.ttl)
        }
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = settings::length_of_time(text)?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(315_360_000);
    if allowed.contains(&ttl) { Ok(ttl) } else { Err("must be from a second to ten years".into()) }
}

/// No list at all is no claim.
fn acl(allow: &[String], deny: &[String]) -> Option<Acl> {
    (!allow.is_empty() || !deny.is_empty()).then(|| Acl { allow: allow.to_vec(), deny: deny.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn defaults_are_shown_as_a_flag_takes_them() {
        let help = command().render_help().to_string();
        assert!(help.contains("[default: *]") && help.contains("[default: priority_message]"), "{help}");
        assert_eq!(as_flag(Kind::List, r#"["a", "b"]"#), "a,b");
    }

    #[test]
    fn unknown_flags_are_refused_with_a_suggestion() {
        let error = command().try_get_matches_from(["wse-server", "--prot", "1"]).expect_err("unknown");
        assert!(error.to_string().contains("--port"), "{error}");
    }

    #[test]
    fn tokens_are_valid_for_some_time() {
        for (text, seconds) in [("3600", 3600), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["0", "11y", "4000d", "-1"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn yes_or_no_needs_no_value() {
        let matches = |flag: &str| command().get_matches_from(["wse-server", flag]);
        let open = Setting::named("allow_open").expect("a setting");
        assert_eq!(given(&matches("--allow-open"), open), Some((Source::Flag, "true".into())));
        assert_eq!(given(&matches("--allow-open=false"), open), Some((Source::Flag, "false".into())));
        let origins = Setting::named("allowed_origins").expect("a setting");
        let twice = command().get_matches_from(["wse-server", "--allowed-origins", "a,b", "--allowed-origins", "c"]);
        assert_eq!(given(&twice, origins), Some((Source::Flag, "a,b,c".into())));
    }
}
