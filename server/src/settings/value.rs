//! Settings as text: what flags, environment and files say, and how it is shown again.

use std::{path::PathBuf, time::Duration};

use wse_client_core::security::{Secret, Verification};

use super::LogFormat;

/// Shown instead of a secret.
pub(super) const HIDDEN: &str = "\"********\"";

/// How a value of type `T` is written. `show` gives a TOML value, or `None` for one that is not set.
pub(super) trait Form<T> {
    fn parse(text: &str) -> Result<T, String>;
    fn show(value: &T) -> Option<String>;
}

/// The usual way of a type.
pub(super) struct Plain;

/// A number of bytes: `65536`, `64KiB`, `16MiB`, `1GiB`.
pub(super) struct Bytes;

const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Form<usize> for Bytes {
    fn parse(text: &str) -> Result<usize, String> {
        let text = text.trim();
        let unit = UNITS.iter().find_map(|(name, size)| text.strip_suffix(name).map(|number| (number, *size)));
        let (number, size) = unit.unwrap_or((text, 1));
        let number = number.trim_end().replace('_', "").parse::<usize>().ok();
        number.and_then(|number| number.checked_mul(size)).ok_or_else(|| {
            let hint = meant(text).map_or_else(String::new, |unit| format!("; did you mean {unit}?"));
            format!("must be a size like 65536, 64KiB, 16MiB or 1GiB{hint}")
        })
    }

    fn show(value: &usize) -> Option<String> {
        let shown = size(*value);
        Some(if shown.ends_with('B') { quoted(&shown) } else { shown })
    }
}

/// A number of bytes as settings write it.
pub(crate) fn size(bytes: usize) -> String {
    let unit = UNITS.iter().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    unit.map_or_else(|| bytes.to_string(), |(name, size)| format!("{}{name}", bytes / size))
}

/// The unit that somebody who wrote `1GB` or `64k` may have meant.
fn meant(text: &str) -> Option<&'static str> {
    let letters = text.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start();
    let known = UNITS.iter().map(|(name, _)| *name);
    let mut near = known.filter(|name| {
        letters.len() <= 3 && letters.get(..1).is_some_and(|first| name[..1].eq_ignore_ascii_case(first))
    });
    near.next().filter(|name| letters != *name)
}

macro_rules! numbers {
    ($($type:ty: $what:literal),*) => {$(
        impl Form<$type> for Plain {
            fn parse(text: &str) -> Result<$type, String> {
                text.trim().replace('_', "").parse().map_err(|_| format!("must be {}", $what))
            }

            fn show(value: &$type) -> Option<String> {
                Some(value.to_string())
            }
        }
    )*};
}

numbers!(
    u16: "a whole number from 0 to 65535",
    u32: "a whole number, 0 or more",
    usize: "a whole number, 0 or more",
    f64: "a number"
);

impl Form<bool> for Plain {
    fn parse(text: &str) -> Result<bool, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "" | "false" | "no" | "off" | "0" => Ok(false),
            _ => Err("must be true or false".into()),
        }
    }

    fn show(value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

impl Form<String> for Plain {
    fn parse(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(quoted(value))
    }
}

impl Form<LogFormat> for Plain {
    fn parse(text: &str) -> Result<LogFormat, String> {
        match text.trim() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json".into()),
        }
    }

    fn show(value: &LogFormat) -> Option<String> {
        Some(quoted(match value {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }))
    }
}

impl Form<Verification> for Plain {
    fn parse(text: &str) -> Result<Verification, String> {
        match text.trim() {
            "off" => Ok(Verification::Off),
            "if_present" => Ok(Verification::IfPresent),
            "required" => Ok(Verification::Required),
            _ => Err("must be off, if_present or required".into()),
        }
    }

    fn show(value: &Verification) -> Option<String> {
        Some(quoted(match value {
            Verification::Off => "off",
            Verification::IfPresent => "if_present",
            Verification::Required => "required",
        }))
    }
}

impl Form<PathBuf> for Plain {
    fn parse(text: &str) -> Result<PathBuf, String> {
        Ok(text.into())
    }

    fn show(value: &PathBuf) -> Option<String> {
        Some(quoted(&value.display().to_string()))
    }
}

impl Form<Secret> for Plain {
    fn parse(text: &str) -> Result<Secret, String> {
        Ok(text.into())
    }

    fn show(_: &Secret) -> Option<String> {
        Some(HIDDEN.into())
    }
}

/// Several values, separated by commas.
impl<T> Form<Vec<T>> for Plain
where
    Self: Form<T>,
{
    fn parse(text: &str) -> Result<Vec<T>, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(<Self as Form<T>>::parse).collect()
    }

    fn show(value: &Vec<T>) -> Option<String> {
        let items: Vec<_> = value.iter().filter_map(<Self as Form<T>>::show).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

impl<T> Form<Option<T>> for Plain
where
    Self: Form<T>,
{
    fn parse(text: &str) -> Result<Option<T>, String> {
        <Self as Form<T>>::parse(text).map(Some)
    }

    fn show(value: &Option<T>) -> Option<String> {
        value.as_ref().and_then(<Self as Form<T>>::show)
    }
}

/// `250ms`, `10s`, `5m`, `12h`, `1d`, or a number of seconds.
impl Form<Duration> for Plain {
    fn parse(text: &str) -> Result<Duration, String> {
        const UNITS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];
        let text = text.trim();
        let unit = UNITS.iter().find_map(|(name, size)| text.strip_suffix(name).map(|number| (number, *size)));
        let (number, size) = unit.unwrap_or((text, 1.0));
        let seconds = number.trim_end().parse::<f64>().ok().map(|number| number * size);
        let length = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        length.ok_or_else(|| "must be a length of time like 250ms, 10s, 5m or 12h".into())
    }

    fn show(value: &Duration) -> Option<String> {
        let ms = value.as_millis();
        Some(match ms {
            0 => "\"0s\"".into(),
            ms if ms % 60_000 == 0 => format!("\"{}m\"", ms / 60_000),
            ms if ms % 1000 == 0 => format!("\"{}s\"", ms / 1000),
            ms => format!("\"{ms}ms\""),
        })
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => out += &format!("\\u{:04X}", u32::from(control)),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lengths_have_units() {
        for (text, bytes) in [("0", 0), ("65536", 65_536), ("64KiB", 65_536), ("2 MiB", 2 << 20), ("1_000", 1000)] {
            assert_eq!(Bytes::parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "64kb", "99999999999999GiB"] {
            assert!(Bytes::parse(text).is_err(), "{text}");
        }
        for (text, unit) in [("1GB", "GiB"), ("64k", "KiB"), ("16 mb", "MiB"), ("5g", "GiB")] {
            let problem = Bytes::parse(text).expect_err("another unit");
            assert!(problem.ends_with(&format!("; did you mean {unit}?")), "{text}: {problem}");
        }
        for text in ["ü", "5 gallons", "-1", "99999999999999GiB"] {
            let problem = Bytes::parse(text).expect_err("no size");
            assert!(!problem.contains("mean"), "{text}: {problem}");
        }
        let length = <Plain as Form<Duration>>::parse;
        for (text, ms) in [("250ms", 250), ("10s", 10_000), ("1.5", 1500), ("5m", 300_000), ("1d", 86_400_000)] {
            assert_eq!(length(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "1e400", "5 minutes", "NaN"] {
            assert!(length(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_means_the_same_again() {
        for bytes in [0, 1, 1023, 1024, 3 << 20, 1 << 30] {
            let shown = Bytes::show(&bytes).expect("shown");
            assert_eq!(Bytes::parse(shown.trim_matches('"')), Ok(bytes));
        }
        for ms in [0, 1, 1000, 1500, 60_000, 90_000] {
            let length = Duration::from_millis(ms);
            let shown = <Plain as Form<Duration>>::show(&length).expect("shown");
            assert_eq!(<Plain as Form<Duration>>::parse(shown.trim_matches('"')), Ok(length));
        }
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000A""#);
    }
}
