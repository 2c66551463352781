//! Where the programs are that take part.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// Programs, by path. `cargo xtask e2e` sets the variables.
#[derive(Debug)]
pub(crate) struct Place {
    /// The server program, `WSE_SERVER_BIN`.
    pub(crate) server: PathBuf,
    /// A Python with our wheel, `WSE_E2E_PYTHON`.
    pub(crate) python: PathBuf,
    /// A Python with the published client 2.5.1, `WSE_E2E_FOREIGN_CLIENT`.
    pub(crate) foreign_client: PathBuf,
    /// A Python with the published client 1.3.9, `WSE_E2E_FOREIGN_CLIENT_1`.
    pub(crate) foreign_client_1: PathBuf,
    /// A Python with the published server, `WSE_E2E_FOREIGN_SERVER`; it needs Python 3.12.
    pub(crate) foreign_server: Option<PathBuf>,
    /// A Chromium, `WSE_CHROMIUM`.
    pub(crate) chromium: PathBuf,
}

impl Place {
    /// Reads the environment.
    ///
    /// # Errors
    /// A variable that is missing or names no file.
    pub(crate) fn from_env() -> Result<Self> {
        let place = Self {
            server: program("WSE_SERVER_BIN")?,
            python: program("WSE_E2E_PYTHON")?,
            foreign_client: program("WSE_E2E_FOREIGN_CLIENT")?,
            foreign_client_1: program("WSE_E2E_FOREIGN_CLIENT_1")?,
            foreign_server: env::var_os("WSE_E2E_FOREIGN_SERVER").map(PathBuf::from),
            chromium: program("WSE_CHROMIUM")?,
        };
        Ok(place)
    }

    /// The folder with the programs that play a client in another language.
    pub(crate) fn shims() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("shims")
    }
}

impl AsRef<Path> for Place {
    /// The server program.
    fn as_ref(&self) -> &Path {
        &self.server
    }
}

fn program(variable: &str) -> Result<PathBuf> {
    let path = env::var_os(variable).map(PathBuf::from);
    let path = path.with_context(|| format!("{variable} is not set: start the tests with `make e2e`"))?;
    ensure!(path.is_file(), "{variable} names {}, which is no file", path.display());
    Ok(path)
}
