//! What "accepted" is worth: the real daemon as a process of its own, killed, stopped, filled up and damaged, between
//! callers over HTTP and a simulated gateway, binary or HTTP/2, that remembers everything.
//!
//! `cargo test --test durability -- --nocapture` shows one line of figures for each test. Variables change the runs:
//!
//! | variable | default | |
//! |---|---|---|
//! | `APNSD_TEST_SEED` | by chance, and printed | the same calls, bad tokens, kills and damage again |
//! | `APNSD_TEST_KILLS` | 50 | how often `crashes` kills |
//! | `APNSD_TEST_BACKLOG` | `broadcasts` | `singles`: the million of `backlog` as a million calls |

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod backlog;
mod caller;
mod certificates;
mod crashes;
mod damage;
mod disk;
mod evidence;
mod ledger;
mod load;
mod outage;
mod process;
mod site;
mod small_disk;
mod stops;
