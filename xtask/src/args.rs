//! The command line of a recipe: a command, then `--name value` pairs.

use std::{env, str::FromStr};

use anyhow::{Context, Result, bail};

/// Arguments that were not used yet.
#[derive(Debug)]
pub(crate) struct Args {
    rest: Vec<String>,
}

impl Args {
    /// What this process was started with.
    pub(crate) fn from_env() -> Self {
        Self { rest: env::args().skip(1).collect() }
    }

    /// No arguments.
    pub(crate) const fn empty() -> Self {
        Self { rest: Vec::new() }
    }

    /// Takes the first argument.
    pub(crate) fn command(&mut self) -> Option<String> {
        if self.rest.is_empty() { None } else { Some(self.rest.remove(0)) }
    }

    /// Takes `name VALUE` if it is there.
    pub(crate) fn option<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(at) = self.rest.iter().position(|argument| argument == name) else { return Ok(None) };
        self.rest.remove(at);
        if at == self.rest.len() {
            bail!("{name} wants a value");
        }
        let text = self.rest.remove(at);
        let value = text.parse().ok().with_context(|| format!("{name} cannot be {text:?}"))?;
        Ok(Some(value))
    }

    /// Takes `name`, and says whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let at = self.rest.iter().position(|argument| argument == name);
        at.map(|at| self.rest.remove(at)).is_some()
    }

    /// Everything that is left, to be passed on.
    pub(crate) fn into_rest(self) -> Vec<String> {
        self.rest
    }

    /// Refuses anything that is left.
    pub(crate) fn finish(self) -> Result<()> {
        match self.rest.first() {
            None => Ok(()),
            Some(argument) => bail!("unknown argument {argument:?}; `cargo xtask help` tells what there is"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        Args { rest: words.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn options_are_taken_by_name_and_the_rest_is_refused() {
        let mut given = args(&["demo", "--port", "0", "--seconds", "3"]);
        assert_eq!(given.command().as_deref(), Some("demo"));
        assert_eq!(given.option::<u64>("--seconds").expect("a number"), Some(3));
        assert_eq!(given.option::<u16>("--port").expect("a number"), Some(0));
        assert_eq!(given.option::<u16>("--port").expect("absent"), None);
        assert!(given.finish().is_ok());
        assert!(args(&["--what"]).finish().is_err());
    }

    #[test]
    fn a_wrong_value_is_named() {
        let error = args(&["--port", "x"]).option::<u16>("--port").expect_err("not a number");
        assert_eq!(error.to_string(), "--port cannot be \"x\"");
        assert!(args(&["--port"]).option::<u16>("--port").is_err());
    }
}
