//! What the tests of one server and of clusters share.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test may stop at what it does not expect")]

use std::net::TcpListener;

/// Nodes of a cluster also listen 10,000 ports higher.
pub fn free_cluster_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Most free ports are too high for that: take one by the low half.
        let port = port % 20_000 + 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok()
            && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok()
        {
            return port;
        }
    }
}
