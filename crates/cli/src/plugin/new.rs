//! `eaves plugin new`: a small project to start from.

use super::kit;
use super::project::Language;
use crate::out;
use anyhow::{Result, bail};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The plugin's name: lower case letters, digits and hyphens; also the folder's
    name: String,
    /// The language to write it in
    #[arg(long, value_enum)]
    lang: Language,
    /// The folder to make it in [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    check_name(&args.name)?;
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if folder.exists() && std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is there already and not empty: choose another name or --folder", folder.display());
    }
    for (path, bytes) in kit::template(args.lang, &args.name) {
        kit::put(&folder.join(path), &bytes)?;
    }
    kit::write(&folder, args.lang)?;
    out::line(format!(
        "Made {folder}, a plugin in {language}. The rules are in {source}.\n\
         The SDK and the WIT package were written to {folder}/.eaves (for tools only: do not edit).\n\n  \
         cd {folder}\n  eaves plugin test                   build, and check the cases in cases/\n  \
         eaves plugin run sample.ndjson      see the verdict on each value",
        folder = folder.display(),
        language = args.lang.title(),
        source = args.lang.source(),
    ))
}

/// What is a name in every language, and for the platform.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts || name.len() > 64 || !name.chars().all(plain) {
        bail!(
            "{name:?} is no name for a plugin: use 1 to 64 lower case letters, digits and hyphens, beginning with \
             a letter, such as no-frost"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_those_of_the_platform() {
        for good in ["a", "no-frost", "rule-2"] {
            super::check_name(good).unwrap();
        }
        for bad in ["", "No-Frost", "2-rules", "no_frost", "a/b", "..", &"a".repeat(65)] {
            assert!(super::check_name(bad).is_err(), "{bad:?}");
        }
    }
}
