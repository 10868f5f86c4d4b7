//! The configuration: one TOML file, overridden by environment variables, both read as a whole before anything starts.
//!
//! Every key has a default; `config/apnsd.toml` lists them all. Problems are collected and reported together, each with
//! its place and the cure. Knows nothing of the command line.

mod app;
mod callers;
mod environments;
mod problem;
mod reader;
mod sections;
mod suggestion;
mod value;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub use self::app::AppSection;
pub use self::callers::{user_app, user_method, user_name};
pub use self::environments::Environments;
pub use self::problem::{Place, Problem, Refused, Warning};
use self::reader::Reader;

pub use self::sections::{
    DeliverySection, HttpSection, LimitsSection, ProvisionSection, RetentionSection, ShutdownSection, StoreSection,
};
pub use self::value::parse_duration;
use self::value::{parsed, path};
use crate::domain::time::Timestamp;
use crate::listener::address::ListenAddress;
use crate::listener::tls;
use crate::listener::unix;
use crate::listener::user::User;
use crate::telemetry;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the daemon listens.
    pub listen: Vec<ListenAddress>,
    /// `[unix]`.
    pub unix: unix::Settings,
    /// Where it keeps what must survive it.
    pub state_dir: PathBuf,
    /// `[limits]`.
    pub limits: LimitsSection,
    /// `[http]`.
    pub http: HttpSection,
    /// `[store]`.
    pub store: StoreSection,
    /// `[provision]`.
    pub provision: ProvisionSection,
    /// `[delivery]`.
    pub delivery: DeliverySection,
    /// `[shutdown]`.
    pub shutdown: ShutdownSection,
    /// `[retention]`.
    pub retention: RetentionSection,
    /// `[log]`.
    pub log: telemetry::Settings,
    /// `[environments.*]`, merged over the built-in rows.
    pub environments: Environments,
    /// `[[app]]`, in the order of the file.
    pub apps: Vec<AppSection>,
    /// `[tls]`.
    pub tls: Option<tls::Settings>,
    /// `[[user]]`.
    pub users: Vec<User>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Tcp { host: LISTEN_HOST.to_owned(), port: LISTEN_PORT, tls: false }],
            unix: unix::Settings::default(),
            state_dir: STATE_DIR_DEFAULT.into(),
            limits: LimitsSection::default(),
            http: HttpSection::default(),
            store: StoreSection::default(),
            provision: ProvisionSection::default(),
            delivery: DeliverySection::default(),
            shutdown: ShutdownSection::default(),
            retention: RetentionSection::default(),
            log: telemetry::Settings::default(),
            environments: environments::built_in(),
            apps: Vec::new(),
            tls: None,
            users: Vec::new(),
        }
    }
}

/// Only from this machine.
const LISTEN_HOST: &str = "127.0.0.1";
/// The port of pyapns, where its clients call without being told.
const LISTEN_PORT: u16 = 7077;

/// Where the file system hierarchy standard wants a service's state.
const STATE_DIR_DEFAULT: &str = "/var/lib/apnsd";

impl Config {
    /// Reads the file, if one is given, and the variables whose names begin with `APNSD__`.
    ///
    /// Relative paths in it start at the directory of the file. Files that it names are looked into: one that cannot
    /// be used, as a certificate that has expired by `now`, is a warning; one of `[tls]` is a problem.
    pub fn load(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
        now: Timestamp,
    ) -> Result<(Self, Vec<Warning>), Refused> {
        let unreadable = |path: &Path, cause: io::Error| {
            let text = format!("cannot be read: {cause}");
            let problem = Problem { place: Place::File(path.to_owned()), key: String::new(), text };
            Refused { problems: vec![problem], warnings: Vec::new() }
        };
        let text = file.map(|path| read_file(path).map_err(|cause| unreadable(path, cause))).transpose()?;
        let mut reader = Reader::new(variables);
        if let (Some(path), Some(text)) = (file, &text) {
            reader.file(path, text);
        }
        let mut config = Self::default();
        config.read(now, &mut reader);
        reader.finish().map(|warnings| (config, warnings))
    }

    /// What can be read of a file, be it right or not: for who is about to add what it lacks.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn glimpse(file: &Path, variables: impl Iterator<Item = (String, String)>, now: Timestamp) -> io::Result<Self> {
        let text = read_file(file)?;
        let mut reader = Reader::new(variables);
        reader.file(file, &text);
        let mut config = Self::default();
        config.read(now, &mut reader);
        Ok(config)
    }

    fn read(&mut self, now: Timestamp, reader: &mut Reader<'_>) {
        reader.read_list("listen", &mut self.listen, parsed);
        for (at, address) in self.listen.iter().enumerate() {
            if self.listen[..at].contains(address) {
                reader.refuse("listen", format!("`{address}` is there twice: remove one"));
            }
        }
        if self.listen.is_empty() {
            reader.refuse("listen", "is empty: name at least one place to listen, as in [\"127.0.0.1:7077\"]");
        }
        if reader.read("state_dir", &mut self.state_dir, path) {
            self.state_dir = reader.resolve(&self.state_dir);
        }
        self.limits.read(reader);
        self.http.read(reader);
        self.store.read(reader);
        self.provision.read(reader);
        self.delivery.read(reader);
        self.shutdown.read(reader);
        self.retention.read(reader);
        sections::read_log(&mut self.log, reader);
        environments::read(&mut self.environments, reader);
        self.apps = app::read(&self.environments, now, reader);
        self.tls = callers::read_tls(reader);
        self.users = callers::read_users(reader);
        callers::read_unix(&mut self.unix, &self.listen, &self.users, reader);
        for objection in self.objections() {
            reader.refuse_lack("listen", objection);
        }
    }

    /// Why it must not be listened as `listen` says, and what to do.
    pub fn objections(&self) -> Vec<String> {
        let objection = |address| callers::objection(address, self.tls.as_ref(), &self.users);
        self.listen.iter().filter_map(objection).collect()
    }

    /// Whether everybody might call at an address that is listened on, whatever `listen` says, if the users were those
    /// of this configuration. `tls` is what is spoken there.
    pub fn opens_to_others(&self, address: &ListenAddress, tls: Option<&tls::Settings>) -> bool {
        callers::is_open_to_others(address, tls, &self.users)
    }
}

/// More than anybody writes: 20,000 apps are 4 MiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The text of a file, or of something else that ends.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut limited = File::open(path)?.take(FILE_BYTES_MAX + 1);
    let read = limited.read_to_string(&mut text);
    // A limit may fall into the midst of a character.
    if limited.limit() == 0 {
        let text = format!("more than {} MiB: is this the right file?", FILE_BYTES_MAX >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    read.map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped file with its keys uncommented.
    fn shipped() -> String {
        let text = include_str!("../../config/apnsd.toml");
        let uncomment = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
            _ => line.to_owned(),
        };
        text.lines().map(uncomment).collect::<Vec<_>>().join("\n")
    }

    fn read(text: &str) -> (Config, Reader<'_>) {
        let mut reader = Reader::new(std::iter::empty());
        reader.file(Path::new("/etc/apnsd/apnsd.toml"), text);
        let mut config = Config::default();
        config.read(Timestamp::from_secs(0), &mut reader);
        (config, reader)
    }

    #[test]
    fn the_shipped_file_is_the_default() {
        let text = shipped();
        let (config, reader) = read(&text);
        let warned: Vec<String> = reader.finish().unwrap().into_iter().map(|Warning(problem)| problem.key).collect();
        assert_eq!(warned, Vec::<String>::new());
        assert_eq!(config, Config::default());
    }

    #[test]
    fn every_key_is_in_the_shipped_file() {
        let text = shipped();
        let (_, reader) = read(&text);
        let unset: Vec<&str> = reader.unset().collect();
        let optional = |key: &&str| {
            let row = key.starts_with("environments.");
            // Only binary gateways have a feedback service.
            let feedback = key.ends_with(".feedback") && !key.ends_with("-binary.feedback");
            row && (key.ends_with(".ca") || key.ends_with(".proxy") || feedback)
        };
        let missing: Vec<&str> = unset.into_iter().filter(|key| !optional(key)).collect();
        assert_eq!(missing, ["app", "tls.certificate", "tls.client_ca", "tls.key", "unix.group", "user"]);
        for example in ["ca", "proxy", "app_id", "certificate", "environment", "timeout", "topic", "key_id", "team_id"]
            .into_iter()
            .chain([
                "passphrase_file",
                "connections",
                "name",
                "token",
                "apps",
                "methods",
                "key",
                "client_ca",
                "calls_per_second",
                "calls_at_once",
                "body",
                "group",
            ])
        {
            assert!(text.contains(&format!("#     {example} = ")), "{example}");
        }
    }
}
