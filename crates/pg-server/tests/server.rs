//! Servers start, replicate, survive a kill and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use eaves_pg_server::{PgError, PgOptions, PgServer};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// A folder that the database's user can enter.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn options(name: &str, dir: &Path) -> PgOptions {
    PgOptions::new(name, dir.join(name)).setting("fsync", "off").setting("shared_buffers", "16MB")
}

fn psql(server: &PgServer, sql: &str) -> Result<String, String> {
    let output = Command::new(server.bin_dir().join("psql"))
        .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-h", server.host(), "-p", &server.port().to_string()])
        .args(["-U", server.superuser(), "-d", "postgres", "-c", sql])
        .env("PGPASSWORD", server.password())
        .output()
        .unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{what}: not within 30 s");
}

#[tokio::test]
async fn a_replica_follows_and_takes_over() {
    let dir = folder();
    let mut primary = PgServer::start(options("primary", dir.path())).await.unwrap();
    psql(&primary, "create table t (n int); insert into t values (1)").unwrap();
    let mut replica = primary.replica(options("replica", dir.path())).await.unwrap();
    psql(&primary, "insert into t values (2)").unwrap();
    until("replication", || psql(&replica, "select count(*) from t") == Ok("2".into())).await;
    assert!(psql(&replica, "insert into t values (3)").unwrap_err().contains("read-only"));

    replica.promote().unwrap();
    until("promotion", || psql(&replica, "insert into t values (3)").is_ok()).await;
    replica.stop().await.unwrap();
    primary.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_recovers_on_the_same_port() {
    let dir = folder();
    let mut server = PgServer::start(options("db", dir.path())).await.unwrap();
    psql(&server, "create table t (n int); create unlogged table u (n int); insert into t values (1); insert into u values (1)")
        .unwrap();
    let port = server.port();
    server.kill_hard().await.unwrap();
    assert!(server.check().is_err());
    server.restart().await.unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(psql(&server, "select (select count(*) from t), (select count(*) from u)"), Ok("1|0".into()));

    let backend = psql(&server, "select pid from pg_stat_activity where backend_type = 'walwriter'").unwrap();
    server.kill_backend(backend.parse().unwrap()).unwrap();
    until("recovery", || psql(&server, "select count(*) from t") == Ok("1".into())).await;
}

#[tokio::test]
async fn an_existing_folder_keeps_its_password_and_data() {
    let dir = folder();
    let mut server = PgServer::start(options("db", dir.path())).await.unwrap();
    psql(&server, "create table t (n int)").unwrap();
    let password = server.password().to_owned();
    server.stop().await.unwrap();
    let server = PgServer::start(options("db", dir.path())).await.unwrap();
    assert_eq!(server.password(), password);
    psql(&server, "select from t").unwrap();
    let pid = server.pid().unwrap();
    drop(server);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let dir = folder();
    let bad = options("db", dir.path()).setting("shared_buffers", "a lot");
    let error = PgServer::start(bad).await.unwrap_err();
    assert!(matches!(error, PgError::Ended { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("shared_buffers") && text.contains("db.log"), "{text}");
}

/// The server must not outlive its parent, even one that is killed: this test runs
/// itself as that parent.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_ends_with_its_parent() {
    const DIR: &str = "EAVES_TEST_PARENT_DIR";
    if let Ok(dir) = std::env::var(DIR) {
        // From a thread that ends at once: the server must not end with it.
        let start = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(PgServer::start(options("db", Path::new(&dir)))).unwrap()
        });
        let server = start.join().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let file = Path::new(&std::env::var(DIR).unwrap()).join("pid");
        std::fs::write(file.with_extension("tmp"), server.pid().unwrap().to_string()).unwrap();
        std::fs::rename(file.with_extension("tmp"), file).unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        return;
    }
    let dir = folder();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_ends_with_its_parent"])
        .env(DIR, dir.path())
        .spawn()
        .unwrap();
    let file = dir.path().join("pid");
    until("start", || file.exists()).await;
    let process = format!("/proc/{}", std::fs::read_to_string(&file).unwrap());
    assert!(Path::new(&process).exists());
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the server's end", || !Path::new(&process).exists()).await;
}
