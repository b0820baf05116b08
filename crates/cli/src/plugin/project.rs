//! A folder with the source of a plugin.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The language a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// Rust: the smallest and fastest plugins
    Rust,
    /// TypeScript or JavaScript
    #[value(alias = "ts", alias = "typescript", alias = "javascript")]
    Js,
    /// AssemblyScript: like TypeScript, compiled
    #[value(alias = "as")]
    Assemblyscript,
    /// C
    C,
    /// Python: by far the slowest and largest plugins
    #[value(alias = "py")]
    Python,
}

impl Language {
    /// All of them, in the order they are recognised.
    pub(crate) const ALL: [Self; 5] = [Self::Rust, Self::Assemblyscript, Self::Js, Self::C, Self::Python];

    /// Its name in options and folders.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Js => "js",
            Self::Assemblyscript => "assemblyscript",
            Self::C => "c",
            Self::Python => "python",
        }
    }

    /// Its name in texts.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Js => "TypeScript",
            Self::Assemblyscript => "AssemblyScript",
            Self::C => "C",
            Self::Python => "Python",
        }
    }

    /// The file of a new project that holds the rules.
    pub(crate) fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Js => "src/plugin.ts",
            Self::Assemblyscript => "assembly/index.ts",
            Self::C => "src/plugin.c",
            Self::Python => "src/plugin.py",
        }
    }

    /// Files that tell a project of this language, most telling first.
    fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["Cargo.toml"],
            Self::Js => &["src/plugin.ts", "src/plugin.js"],
            Self::Assemblyscript => &["assembly/index.ts"],
            Self::C => &["src/plugin.c"],
            Self::Python => &["src/plugin.py"],
        }
    }
}

/// A project that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Project {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Its language.
    pub(crate) language: Language,
    /// The file that tells the language: the source, or the manifest.
    pub(crate) entry: PathBuf,
}

impl Project {
    /// Recognises the project in a folder by its files.
    pub(crate) fn find(folder: &Path) -> Result<Self> {
        for language in Language::ALL {
            for mark in language.marks() {
                let entry = folder.join(mark);
                if entry.is_file() {
                    return Ok(Self { folder: folder.to_path_buf(), language, entry });
                }
            }
        }
        let marks: Vec<_> = Language::ALL.iter().flat_map(|l| l.marks()).copied().collect();
        bail!(
            "{} holds no plugin's source: it has none of {}. Make a project with `eaves plugin new --lang rust NAME`",
            folder.display(),
            marks.join(", ")
        )
    }

    /// Where the component is built to.
    pub(crate) fn component(&self) -> PathBuf {
        self.folder.join("build/plugin.wasm")
    }

    /// A file of the kit.
    pub(crate) fn kit(&self, path: &str) -> PathBuf {
        self.folder.join(super::kit::FOLDER).join(path)
    }

    /// The folder with the WIT package.
    pub(crate) fn wit(&self) -> PathBuf {
        self.kit("wit/eaves-rules/1.0.0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_told_by_the_files() {
        for (file, language) in [
            ("Cargo.toml", Language::Rust),
            ("src/plugin.js", Language::Js),
            ("src/plugin.ts", Language::Js),
            ("assembly/index.ts", Language::Assemblyscript),
            ("src/plugin.c", Language::C),
            ("src/plugin.py", Language::Python),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(file), "").unwrap();
            assert_eq!(Project::find(folder.path()).unwrap().language, language, "{file}");
        }
        let empty = tempfile::tempdir().unwrap();
        let why = Project::find(empty.path()).unwrap_err().to_string();
        assert!(why.contains("src/plugin.py") && why.contains("eaves plugin new"), "{why}");
    }
}
