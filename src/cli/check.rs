//! `check`: what a credential is, whether it can be used, and whether a gateway takes it.

use std::sync::Arc;

use clap::Args;

use super::check_config::{ConfigFile, refuse};
use super::credential::Passphrase;
use super::exit::{Exit, Failure};
use super::render::{civil, json, sheet};
use super::{output, running};
use crate::clock::Clock;
use crate::config::Config;
use crate::credentials::error::CredentialsError;
use crate::credentials::provider_key::ProviderKey;
use crate::credentials::{CertificateFacts, CredentialOptions, Credentials};
use crate::domain::apns::ApnsReason;
use crate::domain::app::{AppId, Environment, Protocol};
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;
use crate::gateway::probe::{ProbeError, probe};
use crate::gateway::{CloseCause, Route, alert};
use crate::xmlrpc::value::Value;

/// Say what a certificate or key is, and whether it can be used
///
/// All problems are told at once, but of a file that cannot be read nothing besides why. With --connect, a connection to
/// the gateway of an environment is made; nothing is pushed. Over HTTP/2 that shows whether the gateway knows who signed
/// the certificate: topic and environment, and a .p8 key altogether, are judged with the first notification.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd check myapp.p12 --passphrase-file myapp.pass\n  \
    apnsd check myapp.pem --connect production\n  \
    apnsd check AuthKey_ABC123DEFG.p8 --key-id ABC123DEFG --team-id DEF123GHIJ --topic com.example.myapp --json")]
pub(super) struct Check {
    /// The file: .p12, PEM with certificate and key, or a .p8 key; - reads standard input
    file: String,
    #[command(flatten)]
    passphrase: Passphrase,
    /// Id of a .p8 key
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// Team of a .p8 key
    #[arg(long, value_name = "ID")]
    team_id: Option<String>,
    /// Topic that it is to be used for
    #[arg(long)]
    topic: Option<String>,
    /// Ask the gateway of this environment
    #[arg(long, value_name = "ENVIRONMENT")]
    connect: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print what is found as JSON
    #[arg(long)]
    json: bool,
}

/// Prints what a credential is, and every problem; fails where there is one.
pub(super) fn run(args: &Check) -> Result<(), Failure> {
    let clock = Clock::system();
    let place = args.connect.as_deref().map(|name| Place::find(name, &args.config)).transpose()?;
    let bytes = args.passphrase.read_beside(&args.file)?;
    let (key_id, team_id) = (args.key_id.as_deref(), args.team_id.as_deref());
    let options = CredentialOptions { passphrase: None, key_id, team_id };
    let (mut members, mut problems) = (Vec::new(), Vec::new());
    match args.passphrase.open(&args.file, &bytes, &options)?.credentials {
        Err(error) => {
            problems.push(error.to_string());
            if let CredentialsError::Ids { .. } = error {
                members.push(("kind", Value::string(KEY)));
                problems.extend(args.topic.is_none().then(|| CredentialsError::TopicMissing.to_string()));
            }
            members.extend(place.is_some().then(|| ("connection", Value::string(NOT_TRIED))));
        }
        Ok(credentials) => {
            members = describe(&credentials, clock.timestamp());
            let environment = place.as_ref().map(|place| &*place.environment);
            let findings = credentials.findings(environment, args.topic.as_deref(), clock.timestamp());
            problems.extend(findings.iter().map(ToString::to_string));
            if let Some(place) = &place {
                match place.ask(credentials, &clock) {
                    Ok(answer) => members.push(("connection", Value::string(answer))),
                    Err(failure) if failure.exit == Exit::Failed => problems.push(failure.message),
                    Err(failure) => return Err(failure),
                }
            }
        }
    }
    output::print(&report(members, &problems, args.json))?;
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Failed, "")) }
}

/// What a `.p8` key is called.
const KEY: &str = "provider token key";
/// What is said of the gateway where credentials cannot be shown to it.
const NOT_TRIED: &str = "not tried";

/// A member of what is printed.
type Member = (&'static str, Value<'static>);

fn report(mut members: Vec<Member>, problems: &[String], as_json: bool) -> String {
    if as_json {
        members.push(("usable", Value::Boolean(problems.is_empty())));
        members.push(("problems", strings(problems)));
    }
    let value = Value::Struct(members.into_iter().map(|(name, value)| (name.into(), value)).collect());
    match (as_json, &value) {
        (true, value) => json(value),
        (false, value) => {
            let lines = problems.iter().map(|problem| format!("problem: {}\n", output::printable(problem)));
            sheet(value, |_| "").trim_start().to_owned() + &lines.collect::<String>()
        }
    }
}

fn describe(credentials: &Credentials, now: Timestamp) -> Vec<Member> {
    match credentials {
        Credentials::Certificate(identity) => {
            let mut members = describe_certificate(&identity.certificate, now);
            // Without a key that belongs to it, it would not be here.
            members.push(("key_matches", Value::Boolean(true)));
            members.push(("chain", Value::Int(i64::try_from(identity.chain.len()).unwrap_or(i64::MAX))));
            members
        }
        Credentials::ProviderKey(ProviderKey { key_id, team_id, .. }) => vec![
            ("kind", Value::string(KEY)),
            ("key_id", Value::string(key_id.clone())),
            ("team", Value::string(team_id.clone())),
        ],
    }
}

fn describe_certificate(facts: &CertificateFacts, now: Timestamp) -> Vec<Member> {
    let environments = [("sandbox", facts.development), ("production", facts.production)];
    let environments: Vec<_> =
        environments.into_iter().filter(|(_, allowed)| *allowed).map(|(name, _)| name.to_owned()).collect();
    let mut members = vec![("kind", Value::string("certificate")), ("subject", Value::string(facts.subject.clone()))];
    members.extend(facts.team.clone().map(|team| ("team", Value::string(team))));
    members.extend([
        ("topics", strings(&facts.topics)),
        ("environments", strings(&environments)),
        ("valid_from", Value::DateTime(civil(facts.not_before))),
        ("valid_until", Value::DateTime(civil(facts.not_after))),
        ("days_left", Value::Int(facts.not_after.days_since(now).max(0))),
    ]);
    members
}

fn strings(texts: &[String]) -> Value<'static> {
    Value::Array(texts.iter().map(|text| Value::string(text.clone())).collect())
}

/// An environment to connect to.
struct Place {
    environment: Arc<Environment>,
    config: Config,
}

impl Place {
    fn find(name: &str, file: &ConfigFile) -> Result<Self, Failure> {
        let (config, _) = file.load().map_err(|refused| refuse(&refused))?;
        let Some(environment) = config.environments.get(name).cloned() else {
            // Nothing that is read here is for FCM.
            let usable = config.environments.values().filter(|row| row.gateway.protocol != Protocol::Fcm);
            let names: Vec<String> = usable.map(|row| format!("`{}`", row.name)).collect();
            let message = format!(
                "`{name}` is not an environment: use one of {}, or name a configuration with --config",
                names.join(", ")
            );
            return Err(Failure::new(Exit::Usage, message));
        };
        Ok(Self { environment, config })
    }

    /// What the gateway says of credentials.
    fn ask(&self, credentials: Credentials, clock: &Clock) -> Result<String, Failure> {
        let gateway = &self.environment.gateway;
        let proven = match (&credentials, gateway.protocol) {
            (Credentials::ProviderKey(_), Protocol::Binary) => return Ok(NOT_TRIED.to_owned()),
            (Credentials::ProviderKey(_), _) => {
                "can be reached; a key is judged with its first notification".to_owned()
            }
            // It closes at once on a certificate for the other environment, and knows no topics.
            (Credentials::Certificate(_), Protocol::Binary) => "takes the certificate".to_owned(),
            (Credentials::Certificate(identity), _) => format!(
                "takes the certificate in the handshake; topic and environment are judged with the first notification \
                 (environment `{}`, certificate for {})",
                self.environment.name,
                made_for(&identity.certificate)
            ),
        };
        let valid = credentials.judge_time(clock.timestamp());
        let app = AppId::parse("check").map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let route = Route {
            app,
            environment: Arc::clone(&self.environment),
            credentials: Arc::new(credentials),
            connect_timeout: self.config.delivery.connect_timeout,
            topic: None,
            connections: 1,
            meter: Arc::default(),
        };
        running::block_on(async {
            match probe(&route, clock).await {
                Ok(peer) => Ok(format!("{gateway} ({peer}) {proven}")),
                Err(error) => Err(Failure::new(Exit::Failed, explained(&error, &valid))),
            }
        })
    }
}

/// Which of Apple's gateways a certificate is made for, by what it says itself.
fn made_for(facts: &CertificateFacts) -> &'static str {
    match (facts.development, facts.production) {
        (true, true) => "development and production",
        (true, false) => "development only",
        (false, true) => "production only",
        (false, false) => "neither development nor production",
    }
}

/// Why a gateway did not take credentials, with what to do. `valid`: what this machine's clock says of them.
fn explained(error: &ProbeError, valid: &Result<(), CredentialsError>) -> String {
    let advice = match error {
        // TLS has no other word for a certificate that is not valid yet.
        ProbeError::Closed(CloseCause::Refused(alert)) if alert == "certificate expired" => match valid {
            Ok(()) => {
                "by this machine's clock it is valid: correct the clock that is wrong, this one's or the gateway's"
            }
            Err(CredentialsError::NotYetValid { .. }) => "that is what gateways say of one that is not valid yet, too",
            Err(_) => alert::advice(alert),
        },
        ProbeError::Closed(CloseCause::Refused(alert)) => alert::advice(alert),
        ProbeError::Closed(CloseCause::Error(Reason::Apns(
            ApnsReason::BadCertificateEnvironment | ApnsReason::BadEnvironmentKeyIdInToken,
        ))) => "it is for Apple's other environment",
        ProbeError::Closed(_) | ProbeError::Route(_) => return error.to_string(),
    };
    format!("{error}: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_what_to_do() {
        let told = |cause| explained(&ProbeError::Closed(cause), &Ok(()));
        let unknown = told(CloseCause::Refused("unknown certificate authority".to_owned()));
        assert!(
            unknown.starts_with("the gateway refused the credentials: unknown certificate authority: it was signed")
        );
        let other = told(CloseCause::Error(Reason::Apns(ApnsReason::BadCertificateEnvironment)));
        assert!(other.ends_with(": it is for Apple's other environment"), "{other}");
        assert_eq!(told(CloseCause::Shutdown), "the gateway is shutting down");
    }

    #[test]
    fn a_gateway_that_says_expired_is_not_believed_against_the_file() {
        let (subject, moment) = (String::new, Timestamp::from_secs(1_800_000_000));
        for (valid, advice) in [
            (
                Err(CredentialsError::Expired { subject: subject(), until: moment }),
                "renew it in Apple's developer account",
            ),
            (
                Err(CredentialsError::NotYetValid { subject: subject(), from: moment }),
                "that is what gateways say of one that is not valid yet, too",
            ),
            (
                Ok(()),
                "by this machine's clock it is valid: correct the clock that is wrong, this one's or the gateway's",
            ),
        ] {
            let told = explained(&ProbeError::Closed(CloseCause::Refused("certificate expired".to_owned())), &valid);
            assert_eq!(told, format!("the gateway refused the credentials: certificate expired: {advice}"));
        }
    }
}
