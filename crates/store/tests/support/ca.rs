//! A certificate authority made for a test, and a server's certificate from it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files of an authority and of a server it vouches for.
pub struct Ca {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's key.
    pub key: PathBuf,
}

impl Ca {
    /// Makes them in `folder`, for a server of this name.
    pub fn make(folder: &Path, host: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let file = |name: &str| folder.join(name);
        let (ca, ca_key) = (file("ca.pem"), file("ca.key"));
        let (certificate, key, request) = (file("server.pem"), file("server.key"), file("server.csr"));
        let extensions = file("server.ext");
        std::fs::write(&extensions, format!("subjectAltName=DNS:{host}\n")).unwrap();
        let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        openssl(
            &["req", "-x509", "-days", "2", "-subj", "/CN=Eaves test CA"],
            &ec,
            &[("-keyout", &ca_key), ("-out", &ca)],
        );
        openssl(
            &["req", "-subj", "/CN=server"],
            &ec,
            &[("-keyout", key.as_path()), ("-out", request.as_path())],
        );
        openssl(
            &["x509", "-req", "-days", "2", "-CAcreateserial"],
            &[],
            &[
                ("-in", &request),
                ("-CA", &ca),
                ("-CAkey", &ca_key),
                ("-extfile", &extensions),
                ("-out", &certificate),
            ],
        );
        Self { ca, certificate, key }
    }
}

fn openssl(first: &[&str], more: &[&str], files: &[(&str, &Path)]) {
    let mut command = Command::new("openssl");
    command.args(first).args(more);
    for (option, file) in files {
        command.arg(option).arg(file);
    }
    let output = command.stdin(Stdio::null()).output().expect("openssl; run `make setup`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
