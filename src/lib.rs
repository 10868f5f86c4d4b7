//! apnsd: a self-hosted push-notification daemon.
//!
//! The modules in reading order; `ARCHITECTURE.md` has the way of a notification through them and the layer table:
//!
//! - [`domain`]: the words of the product: apps, tokens, batches, outcomes. No IO, no async, no clock.
//! - [`systemd`]: what the service manager is told.
//! - [`clock`]: the only place that reads the time.
//! - [`shutdown`]: the one owner of every task: stop, drain, deadline.
//! - [`trust`]: the system's trust store.
//! - [`telemetry`]: logs: how they look, where they go, how much of them there is.
//! - [`xmlrpc`]: XML-RPC as bytes and values; pure.
//! - [`credentials`]: what an app authenticates with: parsed, judged, never shown.
//! - [`store`]: records of everything that must outlive a call.
//! - [`queue`]: what waits, what is due, who holds it.
//! - [`gateway`]: one provider's protocol: connects, sends spans, answers with outcomes.
//! - [`delivery`]: one worker per app: leases rows, hands them to the gateway, settles outcomes.
//! - [`service`]: the verbs, below any wire format.
//! - [`listener`]: sockets, HTTP/1 connections and their limits.
//! - [`rpc`]: XML-RPC over HTTP in front of the verbs: methods, arguments, faults.
//! - [`admin`]: pages for operators.
//! - [`client`]: the XML-RPC client behind the command line.
//! - [`simulator`]: Apple's gateways on loopback, with faults on command.
//! - [`config`]: one file and the environment, every key and its default.
//! - [`daemon`]: builds and stops everything: the whole wiring in one place.
//! - [`bench`]: measures the daemon, and what the machine allows.
//! - [`cli`]: the command line.
//!
//! [`bench`]: mod@bench

pub mod admin;
pub mod bench;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod daemon;
pub mod delivery;
pub mod domain;
pub mod gateway;
pub mod listener;
pub mod queue;
pub mod rpc;
pub mod service;
pub mod shutdown;
pub mod simulator;
pub mod store;
pub mod systemd;
pub mod telemetry;
pub mod trust;
pub mod xmlrpc;
