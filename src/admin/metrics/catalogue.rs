//! Every metric: its name, what it says, its labels. The one place that names them; `docs/metrics.md` shows this table.

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, as Prometheus shows it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The labels of its series.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows, and begins at 0 when the daemon starts or the app is provisioned.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds.
    Histogram,
    /// Always 1; what it says is in its labels.
    Info,
}

impl Kind {
    /// The word for it, as OpenMetrics has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

const APP: &[&str] = &["app"];
const APP_REASON: &[&str] = &["app", "blame", "reason"];

macro_rules! metrics {
    ($all:ident: $($id:ident = $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(pub(super) static $id: Metric = Metric { name: $name, kind: Kind::$kind, labels: $labels, help: $help };)*
        /// All of them, in the order in which they are written out.
        pub static $all: &[&Metric] = &[$(&$id),*];
    };
}

metrics! { OF_APPS:
    ACCEPTED = Counter "apnsd_notifications_accepted_total" APP,
        "Notifications that callers were told are accepted.";
    OUTCOMES = Counter "apnsd_notifications_outcomes_total" &["app", "outcome", "blame", "reason"],
        "Notifications that left the queue: accepted by the provider, presumed so after its silence, or rejected.";
    REVISED = Counter "apnsd_notifications_revised_total" APP,
        "Presumed notifications of which the gateway said otherwise later; they have another outcome then.";
    RETRIED = Counter "apnsd_notifications_retried_total" APP_REASON,
        "Times that notifications went back to the queue for an answer that may pass, or for none (Unanswered).";
    OUTCOME_SECONDS = Histogram "apnsd_notification_outcome_seconds" APP,
        "Time from accept to outcome.";
    WAITING = Gauge "apnsd_queue_notifications" APP,
        "Notifications that wait, those that are deferred included.";
    DEFERRED = Gauge "apnsd_queue_deferred_notifications" APP,
        "Waiting notifications that are tried again at a time.";
    OLDEST = Gauge "apnsd_queue_oldest_age_seconds" APP,
        "How long the oldest waiting notification has waited; 0 where none waits.";
    IN_FLIGHT = Gauge "apnsd_notifications_in_flight" APP,
        "Notifications at the gateway, without an outcome yet.";
    STATE = Gauge "apnsd_app_state" &["app", "state"],
        "1 for the state that the app is in, 0 for the others.";
    CONNECTIONS = Gauge "apnsd_connections" APP,
        "Connections to the gateway that stand.";
    OPENED = Counter "apnsd_connections_opened_total" APP,
        "Connections to the gateway that were made.";
    ENDED = Counter "apnsd_connections_ended_total" &["app", "cause"],
        "Connections, and attempts to make one, that ended.";
    STREAMS = Gauge "apnsd_stream_limit" APP,
        "HTTP/2: requests that the app's connections allow at the same time.";
    TOKEN_ISSUED = Gauge "apnsd_provider_token_issued_timestamp_seconds" APP,
        "When the provider token that the app uses was issued.";
    EXPIRY = Gauge "apnsd_certificate_expiry_timestamp_seconds" APP,
        "When the app's certificate ends.";
}

metrics! { OF_PROCESS:
    CALLS = Counter "apnsd_calls_total" &["method", "fault"],
        "XML-RPC calls by method and code of the fault, none for success.";
    REFUSED = Counter "apnsd_requests_refused_total" &["status"],
        "Requests that were answered with an HTTP status of 400 or more.";
    FAILED_LOGINS = Counter "apnsd_logins_failed_total" &["cause"],
        "Requests with no credentials or wrong ones, where users are needed.";
    CALLERS = Gauge "apnsd_caller_connections" &[],
        "Connections of callers that stand.";
    CALLERS_OPENED = Counter "apnsd_caller_connections_opened_total" &[],
        "Connections of callers that were accepted.";
    CALLERS_ENDED = Counter "apnsd_caller_connections_ended_total" &["cause"],
        "Connections of callers that ended.";
    READY = Gauge "apnsd_ready" &[],
        "1 while notifications can be accepted, 0 while the store cannot keep them.";
    COMMIT_REQUESTS = Histogram "apnsd_store_commit_requests" &[],
        "Calls and settlements that shared a commit, which has one sync.";
    COMMIT_SECONDS = Histogram "apnsd_store_commit_seconds" &[],
        "Time of a commit, its sync included.";
    BUILD = Info "apnsd_build_info" &["version"],
        "The version that runs.";
    CPU = Counter "process_cpu_seconds_total" &[],
        "Processor time of the daemon, user and system.";
    RESIDENT = Gauge "process_resident_memory_bytes" &[],
        "Memory of the daemon that is in RAM.";
    VIRTUAL = Gauge "process_virtual_memory_bytes" &[],
        "Address space of the daemon.";
    OPEN_FILES = Gauge "process_open_fds" &[],
        "Open files and sockets.";
    MAX_FILES = Gauge "process_max_fds" &[],
        "Files and sockets that may be open.";
    STARTED = Gauge "process_start_time_seconds" &[],
        "When the process began.";
}
