//! `--record FILE`.

use std::path::PathBuf;

use wse_client::Client;

/// Writes the recording of a client; at the latest when it is dropped, on Ctrl-C too.
pub(crate) struct Flight {
    client: Client,
    file: Option<PathBuf>,
}

impl Flight {
    /// Without a file it does nothing.
    pub(crate) fn new(client: &Client, file: Option<PathBuf>) -> Self {
        Self { client: client.clone(), file }
    }

    pub(crate) fn write(&self) {
        let Some(file) = &self.file else { return };
        let recording = self.client.recording().unwrap_or_default();
        if let Err(error) = std::fs::write(file, recording) {
            eprintln!("cannot write {}: {error}", file.display());
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.write();
    }
}
