//! Settings from a TOML file: one table, without sections.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Kind, Setting, SettingError, nearest};

/// Reads the keys of a file; values are looked at when they are put together with other sources.
///
/// # Errors
/// What is not TOML, keys that are no setting, and values of a kind that no setting has.
///
/// ```
/// # use wse_server::settings::parse_file;
/// let keys = parse_file("port = 80\nallowed_origins = [\"https://a\", \"https://b\"]").expect("usable");
/// assert_eq!((&*keys["port"], &*keys["allowed_origins"]), ("80", "https://a,https://b"));
/// let error = parse_file("prot = 80").expect_err("a mistake");
/// assert_eq!(error.to_string(), "unknown key \"prot\"; did you mean \"port\"?");
/// ```
pub fn parse_file(text: &str) -> Result<BTreeMap<&'static str, String>, SettingError> {
    // The message quotes the line at fault, which may hold a secret; where it is, is enough.
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        SettingError::Syntax(format!("line {line}: {}", error.message()))
    })?;
    let mut keys = BTreeMap::new();
    for (name, value) in table {
        let Some(setting) = Setting::named(&name) else {
            if value.is_table() {
                let problem = "is a section, and the file has none: all keys stand at its top".into();
                return Err(SettingError::Value { name: format!("[{name}]"), problem });
            }
            let nearest = nearest(&name).map(str::to_owned);
            return Err(SettingError::Unknown { name, nearest });
        };
        let text = as_text(setting.kind, value).map_err(|problem| SettingError::Value { name, problem })?;
        keys.insert(setting.name, text);
    }
    Ok(keys)
}

fn as_text(kind: Kind, value: Value) -> Result<String, String> {
    match value {
        Value::Array(items) if kind == Kind::List => {
            let items: Result<Vec<_>, _> = items.into_iter().map(item).collect();
            Ok(items?.join(","))
        }
        value => scalar(value),
    }
}

fn item(value: Value) -> Result<String, String> {
    match scalar(value)? {
        text if text.contains(',') => Err("must not have a comma within an item".into()),
        text => Ok(text),
    }
}

fn scalar(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => Err("must be one value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse_file(text).expect_err("refused").to_string()
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_value() {
        assert_eq!(
            refused("[limits]\nport = 1"),
            "[limits] is a section, and the file has none: all keys stand at its top"
        );
        assert_eq!(refused("port = [1]"), "port must be one value");
        assert_eq!(refused("allowed_origins = [\"a,b\"]"), "allowed_origins must not have a comma within an item");
        let broken = refused("port = 1\njwt_secret = \"hush\nhost = 2");
        assert!(broken.starts_with("line 2: ") && !broken.contains("hush"), "{broken}");
        let twice = refused("jwt_secret = \"hush\"\njwt_secret = \"hush\"");
        assert!(twice.starts_with("line 2: duplicate") && !twice.contains("hush"), "{twice}");
    }
}
