//! The files of plugin authors that this program carries: the WIT package, the SDKs and the
//! templates of projects.

use super::project::Language;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/kit.rs"));

/// The folder of a project that holds the kit.
pub(crate) const FOLDER: &str = ".eaves";

const README: &str = "\
Written by `eaves plugin`: the WIT package and the SDK that this project is built with.
`eaves plugin build` brings it up to date with the `eaves` that runs it. Do not edit.
";

/// Writes the WIT package and the SDK of `language` to the project's `.eaves/`, where they differ.
pub(crate) fn write(project: &Path, language: Language) -> Result<()> {
    let folder = project.join(FOLDER);
    let sdk = format!("sdk/{}/", language.name());
    put(&folder.join("README"), README.as_bytes())?;
    for (path, bytes) in KIT {
        if *path == "Cargo.toml" && language == Language::Rust {
            put(&folder.join(path), &workspace_of_the_sdk(bytes))?;
        } else if path.starts_with("wit/") || path.starts_with(&sdk) && !path.contains("/toolchain/") {
            put(&folder.join(path), bytes)?;
        }
    }
    Ok(())
}

/// The SDK's crate takes versions from its workspace: here it is alone in it.
fn workspace_of_the_sdk(manifest: &[u8]) -> Vec<u8> {
    let manifest = String::from_utf8_lossy(manifest);
    let alone = |line: &str| match line.starts_with("members = ") {
        true => "members = [\"sdk/rust\"]".to_owned(),
        false => line.to_owned(),
    };
    manifest.lines().map(|line| alone(line) + "\n").collect::<String>().into_bytes()
}

/// The files of a toolchain (`sdk/js/toolchain/…`), with their names.
pub(crate) fn toolchain(language: Language) -> Vec<(&'static str, &'static [u8])> {
    let folder = format!("sdk/{}/toolchain/", language.name());
    KIT.iter().filter_map(|(path, bytes)| Some((path.strip_prefix(&folder)?, *bytes))).collect()
}

/// The files of a new project, with their paths.
pub(crate) fn template(language: Language, name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let own = format!("{}/", language.name());
    let files = TEMPLATES.iter().filter_map(|(path, bytes)| {
        let path = path.strip_prefix(&own).or_else(|| path.strip_prefix("common/"))?;
        let text = String::from_utf8_lossy(bytes).replace("{{name}}", name);
        let text = text.replace("{{language}}", language.title()).replace("{{source}}", language.source());
        // A file of that name in the repository would be one that cargo or git looks at.
        let path = path.strip_suffix(".template").unwrap_or(path);
        Some((path, text.into_bytes()))
    });
    files.collect()
}

/// Writes a file unless it is so already: what did not change is not built again.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, bytes)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_kit_and_a_template() {
        for language in Language::ALL {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), language).unwrap();
            let kit = folder.path().join(FOLDER);
            assert!(kit.join("wit/eaves-rules/1.0.0/rules.wit").is_file());
            assert!(kit.join("sdk").join(language.name()).is_dir(), "{language:?}");
            let files = template(language, "no-frost");
            assert!(files.iter().any(|(path, _)| *path == language.source()), "{language:?}");
            for needed in ["README.md", ".gitignore", "cases/limits.yaml", "sample.ndjson"] {
                assert!(files.iter().any(|(path, _)| *path == needed), "{language:?} has no {needed}");
            }
            for (path, bytes) in files {
                assert!(!String::from_utf8_lossy(&bytes).contains("{{"), "{path} has an unfilled place");
            }
        }
    }
}
