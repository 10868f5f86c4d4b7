//! Instruments: what is counted where things happen, and read when somebody asks. None of them waits or takes a lock,
//! and each belongs to whoever counts with it: to an app, to the store, to the methods.
//!
//! How they are named and written out is decided in `admin::metrics`.

pub mod callers;
pub mod calls;
pub mod histogram;
pub mod tally;
