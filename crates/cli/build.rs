//! Puts the kits of plugin authors (WIT, SDKs, project templates) into the binary, so that a
//! project can be made and built where this repository is not.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let plugins = here.join("../../plugins");
    let mut code = String::new();
    table(&mut code, "KIT", &plugins, &["Cargo.toml", "wit/eaves-rules/1.0.0", "sdk"])?;
    table(&mut code, "TEMPLATES", &here.join("templates"), &["."])?;
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("kit.rs"), code)
}

/// A constant with each file's path below `root` and its bytes.
fn table(code: &mut String, name: &str, root: &Path, parts: &[&str]) -> io::Result<()> {
    let mut files = Vec::new();
    for part in parts {
        println!("cargo:rerun-if-changed={}", root.join(part).display());
        collect(&root.join(part), &mut files)?;
    }
    files.sort();
    let _infallible = writeln!(code, "pub(crate) const {name}: &[(&str, &[u8])] = &[");
    for file in files {
        let below = file.strip_prefix(root).map_err(io::Error::other)?;
        let below = below.strip_prefix(".").unwrap_or(below);
        let _infallible = writeln!(code, "    ({below:?}, include_bytes!({file:?})),");
    }
    code.push_str("];\n");
    Ok(())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        let left_out = ["target", "node_modules", "__pycache__", "test"];
        if !left_out.iter().any(|name| entry.ends_with(name)) {
            collect(&entry, files)?;
        }
    }
    Ok(())
}
