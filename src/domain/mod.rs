//! The words of the product: apps, tokens, batches, outcomes, feedback. No IO, no async, no clock.
//!
//! Everything that crosses a layer is defined here, so that no layer has to import another for its vocabulary.

pub mod apns;
pub mod app;
pub mod batch;
pub mod feedback;
pub mod outcome;
pub mod proxy;
pub mod time;
pub mod token;
