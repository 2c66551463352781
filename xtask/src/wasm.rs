//! (the browser driver's recipe)

use anyhow::Result;

/// Builds it.
pub(crate) fn build() -> Result<()> {
    Ok(())
}
