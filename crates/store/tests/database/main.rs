//! The store against a real server.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test binary without a harness"
)]

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod bypass;
mod changes;
mod commit;
mod decisions;
mod figures;
mod flush;
mod guards;
mod hot;
mod migrate;
mod olap;
mod operate;
mod plugins;
mod points;
mod pooler;
mod ranges;
mod redrive;
mod register;
mod rest;
mod runbooks;
mod schema;
mod search;
mod settings;
mod several;
mod statistics;
mod tenancy;
mod tls;
mod verify;

fn main() {
    let mut suite = support::Suite::new();
    schema::add(&mut suite);
    agreement::add(&mut suite);
    migrate::add(&mut suite);
    pooler::add(&mut suite);
    tls::add(&mut suite);
    runbooks::add(&mut suite);
    // All that functions do, directly and through a pooler (docs/rds-proxy.md).
    suite.also_pooled(true);
    register::add(&mut suite);
    commit::add(&mut suite);
    hot::add(&mut suite);
    flush::add(&mut suite);
    points::add(&mut suite);
    redrive::add(&mut suite);
    tenancy::add(&mut suite);
    bypass::add(&mut suite);
    search::add(&mut suite);
    ranges::add(&mut suite);
    several::add(&mut suite);
    figures::add(&mut suite);
    settings::add(&mut suite);
    guards::add(&mut suite);
    olap::add(&mut suite);
    operate::add(&mut suite);
    statistics::add(&mut suite);
    verify::add(&mut suite);
    changes::add(&mut suite);
    decisions::add(&mut suite);
    plugins::add(&mut suite);
    rest::add(&mut suite);
    suite.run()
}
