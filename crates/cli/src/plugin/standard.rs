//! Where the standard plugin is: rules by settings, for tenants that write no code.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

const NAME: &str = "standard.wasm";

/// The component: `EAVES_STANDARD_PLUGIN`, else beside this program, else where `make plugins`
/// puts it.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("EAVES_STANDARD_PLUGIN").filter(|v| !v.is_empty()) {
        return Ok(named.into());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let folder = program.parent().unwrap_or(Path::new("."));
    let places = [folder.join("plugins").join(NAME), folder.join("../plugins").join(NAME)];
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(place.clone()),
        None => bail!(
            "the standard plugin is not at {}: build it with `make plugins`, or set EAVES_STANDARD_PLUGIN to the file",
            places.map(|p| p.display().to_string()).join(" or ")
        ),
    }
}
