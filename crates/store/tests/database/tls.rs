//! Encrypted connections: to the server that was meant, or none.

use crate::support::ca::Ca;
use crate::support::pooler::Pooler;
use crate::support::{Server, Suite};
use eaves_settings::{Postgres, Tls};
use eaves_store::flush::FlushStore;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("tls::the_server_that_was_meant", the_server_that_was_meant);
    suite.test("tls::anybody_else_is_refused", anybody_else_is_refused);
}

/// The server's certificate is for `localhost`.
fn settings(of: &Postgres, host: &str, ca: Option<&Path>) -> Postgres {
    let ca_file = ca.map(|path| path.to_str().unwrap().to_owned());
    Postgres { host: host.into(), tls: Tls::VerifyFull { ca_file }, ..of.clone() }
}

async fn the_server_that_was_meant(server: Arc<Server>) {
    let db = server.database().await;
    let flush = db.role("eaves_flush");
    let store = FlushStore::connect(&settings(&flush, "localhost", Some(&server.ca.ca))).await.unwrap();
    store.heartbeat().await.unwrap();
    let encrypted = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid)
                     where datname = current_database() and application_name = 'eaves' and ssl";
    assert_eq!(db.one(encrypted).await, "1");
    // A bundle may have others before the right one, as that of RDS has.
    let other = Ca::make(&server.folder.join("ca-bundle"), "localhost");
    let bundle = server.folder.join("bundle.pem");
    let both = [&other.ca, &server.ca.ca].map(|p| std::fs::read_to_string(p).unwrap()).concat();
    std::fs::write(&bundle, both).unwrap();
    let bundled = FlushStore::connect(&settings(&flush, "localhost", Some(&bundle))).await.unwrap();
    bundled.heartbeat().await.unwrap();
}

async fn anybody_else_is_refused(server: Arc<Server>) {
    let db = server.database().await;
    let flush = db.role("eaves_flush");
    let other = Ca::make(&server.folder.join("ca-other"), "localhost");
    let refused = async |settings: Postgres| {
        let error = FlushStore::connect(&settings).await.err().expect("a connection to somebody else");
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            said += &format!(": {cause}");
            source = cause.source();
        }
        said
    };
    // Another name than the certificate's.
    let said = refused(settings(&flush, "127.0.0.1", Some(&server.ca.ca))).await;
    assert!(said.contains("mismatch"), "{said}");
    // Another authority, and those of the system.
    for ca in [Some(other.ca.as_path()), None] {
        let said = refused(settings(&flush, "localhost", ca)).await;
        assert!(said.contains("certificate verify failed"), "{said}");
    }
    // A server without TLS: no falling back.
    let pooler = Pooler::start(&server).await;
    let plain = Postgres { port: pooler.port, ..flush.clone() };
    let said = refused(settings(&plain, "localhost", Some(&server.ca.ca))).await;
    assert!(said.contains("TLS") || said.contains("server does not support"), "{said}");
    // Files that are no authorities.
    let nonsense = server.folder.join("nonsense.pem");
    std::fs::write(&nonsense, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let said = refused(settings(&flush, "localhost", Some(&nonsense))).await;
    assert!(said.contains("setting up TLS"), "{said}");
    let said = refused(settings(&flush, "localhost", Some(Path::new("/no/such/file.pem")))).await;
    assert!(said.contains("setting up TLS") && said.contains("No such file"), "{said}");
}
