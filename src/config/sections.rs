//! The plain sections: each with its keys, its defaults and the reason for every default.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::value::{body_size, boolean, count, duration, parsed, path, size, size_or_none, word};
use crate::gateway;
use crate::queue::retry::Unknown;
use crate::service::Repeat;
use crate::store::{Durability, Kind};
use crate::telemetry;

/// `[limits]`: what one caller may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsSection {
    /// Bytes of a request body, also once it is unpacked.
    pub body: usize,
    /// Nesting of XML elements.
    pub depth: usize,
    /// Tokens in one call.
    pub tokens_per_call: usize,
    /// Waiting notifications of one app.
    pub queued: u64,
    /// Bytes of waiting batches that are kept in memory, of all apps together.
    pub memory: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            // 100,000 tokens of 64 digits in XML are 13 MB; with a payload for each they still fit.
            body: 64 << 20,
            // Payloads nest 5 deep or less, and each level takes 4 elements in XML-RPC.
            depth: 64,
            // A larger campaign is several calls, so that one caller cannot hold the daemon for seconds.
            tokens_per_call: 100_000,
            // Hours of a gateway's outage for a busy app.
            queued: 10_000_000,
            // Enough that a fast app is never slowed down by the store, little enough for a small machine.
            memory: 32 << 20,
        }
    }
}

impl LimitsSection {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) {
        reader.read("limits.body", &mut self.body, body_size);
        reader.read("limits.depth", &mut self.depth, count);
        reader.read("limits.tokens_per_call", &mut self.tokens_per_call, count);
        reader.read("limits.queued", &mut self.queued, count);
        reader.read("limits.memory", &mut self.memory, size);
    }
}

/// `[http]`: how long a connection may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSection {
    /// For the head of a request.
    pub header_timeout: Duration,
    /// Between two parts of a request body.
    pub body_timeout: Duration,
    /// An idle connection between two requests.
    pub keep_alive: Duration,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            // A head is one packet; whoever needs longer does it on purpose.
            header_timeout: Duration::from_secs(10),
            // What a slow uplink may pause while it sends a large body.
            body_timeout: Duration::from_secs(60),
            // Longer than the usual 60 s of proxies, so that they close first and no request meets a closed connection.
            keep_alive: Duration::from_secs(75),
        }
    }
}

impl HttpSection {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) {
        reader.read("http.header_timeout", &mut self.header_timeout, duration);
        reader.read("http.body_timeout", &mut self.body_timeout, duration);
        reader.read("http.keep_alive", &mut self.keep_alive, duration);
    }
}

/// `[store]`: where accepted notifications wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSection {
    /// Which store.
    pub kind: Kind,
    /// What "accepted" means.
    pub durability: Durability,
    /// Free bytes of the disk below which nothing more is accepted.
    pub min_free: u64,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            kind: Kind::Sqlite,
            // Nobody should have to ask for it.
            durability: Durability::Full,
            // Room to settle what waits while somebody makes space.
            min_free: 256 << 20,
        }
    }
}

impl StoreSection {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) {
        const KINDS: &[(&str, Kind)] = &[("sqlite", Kind::Sqlite), ("memory", Kind::Memory)];
        const DURABILITIES: &[(&str, Durability)] =
            &[("full", Durability::Full), ("relaxed", Durability::Relaxed), ("none", Durability::None)];
        reader.read("store.kind", &mut self.kind, word(KINDS));
        let of_files = [
            ("store.durability", reader.read("store.durability", &mut self.durability, word(DURABILITIES))),
            ("store.min_free", reader.read("store.min_free", &mut self.min_free, size)),
        ];
        // Also where a default is written down: whoever writes `full` relies on it.
        for (key, _) in of_files.into_iter().filter(|(_, set)| *set && self.kind == Kind::Memory) {
            reader.warn(key, "has no effect: store.kind is memory");
        }
    }
}

/// `[provision]`: how apps are added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionSection {
    /// Directories under which `provision` may name a certificate file.
    pub certificate_dirs: Vec<PathBuf>,
    /// A bad credential is always a fault, not a refused app.
    pub strict: bool,
    /// What a provision of a known app does.
    pub repeat: Repeat,
}

impl Default for ProvisionSection {
    fn default() -> Self {
        Self {
            // The second is where systemd's LoadCredential= puts files.
            certificate_dirs: vec!["/etc/apnsd/certs".into(), "$CREDENTIALS_DIRECTORY".into()],
            // Clients of pyapns provision in a loop: one expired certificate must not stop the apps after it.
            strict: false,
            // A renewed certificate counts without a restart.
            repeat: Repeat::Replace,
        }
    }
}

impl ProvisionSection {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) {
        const REPEATS: &[(&str, Repeat)] = &[("replace", Repeat::Replace), ("ignore", Repeat::Ignore)];
        if reader.read_list("provision.certificate_dirs", &mut self.certificate_dirs, path) {
            self.certificate_dirs = self.certificate_dirs.iter().map(|dir| reader.resolve(dir)).collect();
        }
        reader.read("provision.strict", &mut self.strict, boolean);
        reader.read("provision.repeat", &mut self.repeat, word(REPEATS));
    }
}

/// `[delivery]`: how notifications go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySection {
    /// What the gateways themselves need to know.
    pub gateway: gateway::Settings,
    /// How long a notification may wait; also its expiration where none is given.
    pub max_age: Duration,
    /// Longest connection attempt where `provision` names none (pyapns' `timeout`).
    pub connect_timeout: Duration,
    /// What becomes of what was sent and never answered.
    pub unknown: Unknown,
}

impl Default for DeliverySection {
    fn default() -> Self {
        Self {
            gateway: gateway::Settings::default(),
            // Yesterday's news is rarely worth a notification.
            max_age: Duration::from_secs(24 * 60 * 60),
            // As in pyapns.
            connect_timeout: Duration::from_secs(15),
            // A second notification is better than none.
            unknown: Unknown::Resend,
        }
    }
}

impl DeliverySection {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) {
        const UNKNOWNS: &[(&str, Unknown)] = &[("resend", Unknown::Resend), ("reject", Unknown::Reject)];
        reader.read("delivery.settle_after", &mut self.gateway.settle_after, duration);
        reader.read("delivery.idle_after", &mut self.gateway.idle_after, duration);
        reader.read("delivery.max_attempts", &mut self.gateway.max_attempts, count);
        reader.read("delivery.max_age", &mut self.max_age, duration);
        reader.read("delivery.connect_timeout", &mut self.connect_timeout, duration);
        reader.read("delivery.request_deadline", &mut self.gateway.request_deadline, duration);
        reader.read("delivery.goaway_drain", &mut self.gateway.goaway_drain, duration);
        reader.read("delivery.unknown", &mut self.unknown, word(UNKNOWNS));
    }
}

/// `[shutdown]`: how the daemon ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownSection {
    /// How long it may take to finish what it has begun.
    pub deadline: Duration,
}

impl Default for ShutdownSection {
    fn default() -> Self {
        // Well within the 90 s after which systemd kills.
        Self { deadline: Duration::from_secs(30) }
    }
}

impl ShutdownSection {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) {
        reader.read("shutdown.deadline", &mut self.deadline, duration);
    }
}

/// `[retention]`: how long results are kept, or how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSection {
    /// Rejections.
    pub rejections: Duration,
    /// Feedback.
    pub feedback: Duration,
    /// Bytes of the log that `apnsd trace` reads; 0 logs nothing.
    pub outcomes: u64,
}

impl Default for RetentionSection {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            // A month of "did this push go?".
            rejections: DAY * 30,
            // Callers that ask once a quarter still see every dead token.
            feedback: DAY * 90,
            // A million notifications.
            outcomes: 32 << 20,
        }
    }
}

impl RetentionSection {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) {
        reader.read("retention.rejections", &mut self.rejections, duration);
        reader.read("retention.feedback", &mut self.feedback, duration);
        reader.read("retention.outcomes", &mut self.outcomes, size_or_none);
    }
}

/// `[log]`.
pub(super) fn read_log(log: &mut telemetry::Settings, reader: &mut Reader<'_>) {
    reader.read("log.format", &mut log.format, parsed);
    reader.read("log.level", &mut log.level, parsed);
}
