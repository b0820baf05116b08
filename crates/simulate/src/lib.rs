//! A plausible fleet of devices for demonstrations, tests and benchmarks.
//!
//! Pumps, air conditioners, freezers and electricity meters with about ten attributes
//! each: daily cycles, noise, slow drift, status changes, counters that only grow; and at
//! stated rates what real fleets do too: readings that come late, come twice, or are wrong.
//! The same seed gives the same messages on every machine, for ever: it uses a generator
//! of its own and no clock.
//!
//! It writes JSON as devices do, not model types, because a good part of what it is for
//! cannot be expressed in them. It sends nothing. Start with [`Fleet`].

mod device;
mod fault;
mod fleet;
mod random;

pub use device::Kind;
pub use fleet::{Fleet, Message, Options, Rates, Sort};
