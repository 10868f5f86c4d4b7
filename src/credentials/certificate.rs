//! What a push certificate says about itself, and whether it may be used: now, and with an environment.
//!
//! Whether a chain is trusted is the gateway's decision, not made here.

use x509_parser::asn1_rs::{Any, Oid, Sequence, Utf8String, oid};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

use super::error::CredentialsError;
use super::{CertificateFacts, Credentials};
use crate::domain::app::{Address, Environment, Protocol};
use crate::domain::time::Timestamp;

const DEVELOPMENT: Oid<'static> = oid!(1.2.840.113635.100.6.3.1);
const PRODUCTION: Oid<'static> = oid!(1.2.840.113635.100.6.3.2);
const TOPICS: Oid<'static> = oid!(1.2.840.113635.100.6.3.6);
const UID: Oid<'static> = oid!(0.9.2342.19200300.100.1.1);

impl Credentials {
    /// Whether they may be used at this time, with whatever environment.
    pub fn judge_time(&self, now: Timestamp) -> Result<(), CredentialsError> {
        let Some(facts) = self.certificate() else { return Ok(()) };
        let subject = || facts.subject.clone();
        if now < facts.not_before {
            return Err(CredentialsError::NotYetValid { subject: subject(), from: facts.not_before });
        }
        if now > facts.not_after {
            return Err(CredentialsError::Expired { subject: subject(), until: facts.not_after });
        }
        Ok(())
    }

    /// Whether they may be used with an environment, for the topic of the app where it has one, at this time; the error
    /// names the cure.
    pub fn judge(
        &self,
        environment: &Environment,
        topic: Option<&str>,
        now: Timestamp,
    ) -> Result<(), CredentialsError> {
        self.findings(Some(environment), topic, now).into_iter().next().map_or(Ok(()), Err)
    }

    /// All that keeps them from being used, the worst first; what depends on an environment only where one is given.
    ///
    /// Only for Apple's own gateways (hosts under `push.apple.com`) is it known what a certificate must allow.
    pub fn findings(
        &self,
        environment: Option<&Environment>,
        topic: Option<&str>,
        now: Timestamp,
    ) -> Vec<CredentialsError> {
        let checks = match self {
            Self::Certificate(identity) => {
                let facts = &identity.certificate;
                let placed = environment.map_or(Ok(()), |environment| facts.judge_environment(environment));
                [self.judge_time(now), placed, facts.judge_topic(environment, topic)]
            }
            Self::ProviderKey(_) => {
                let protocol = environment.map(|environment| (environment, environment.gateway.protocol));
                let placed = match protocol {
                    Some((environment, Protocol::Binary)) => {
                        Err(CredentialsError::NeedsCertificate { environment: environment.name.to_string() })
                    }
                    // Without an environment too: nowhere does it work without one.
                    Some((_, Protocol::Http2)) | None if topic.is_none() => Err(CredentialsError::TopicMissing),
                    Some((_, Protocol::Http2 | Protocol::Fcm)) | None => Ok(()),
                };
                [placed, Ok(()), Ok(())]
            }
        };
        checks.into_iter().filter_map(Result::err).collect()
    }
}

impl CertificateFacts {
    fn judge_environment(&self, environment: &Environment) -> Result<(), CredentialsError> {
        let (wanted, allowed) = match apple(&environment.gateway) {
            None => return Ok(()),
            Some(Apple::Sandbox) => ("sandbox", self.development),
            Some(Apple::Production) => ("production", self.production),
        };
        let subject = || self.subject.clone();
        match allowed {
            true => Ok(()),
            false if self.development || self.production => Err(CredentialsError::WrongEnvironment {
                subject: subject(),
                wanted,
                environment: environment.name.to_string(),
            }),
            false => Err(CredentialsError::NotPush { subject: subject() }),
        }
    }

    fn judge_topic(&self, environment: Option<&Environment>, topic: Option<&str>) -> Result<(), CredentialsError> {
        let (subject, topics) = (|| self.subject.clone(), || self.topics.clone());
        let needs_topic = environment.is_some_and(|environment| environment.gateway.protocol == Protocol::Http2);
        match (topic, self.topics.as_slice()) {
            (Some(topic), [_, ..]) if !self.topics.iter().any(|allowed| allowed == topic) => {
                Err(CredentialsError::TopicRefused { subject: subject(), topic: topic.to_owned(), topics: topics() })
            }
            (None, [_, _, ..]) if needs_topic && self.uid.is_none() => {
                Err(CredentialsError::TopicAmbiguous { subject: subject(), topics: topics() })
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}

/// Apple's two environments.
enum Apple {
    Sandbox,
    Production,
}

fn apple(gateway: &Address) -> Option<Apple> {
    let host = gateway.host.trim_end_matches('.').to_ascii_lowercase();
    let service = host.strip_suffix("push.apple.com")?;
    if !service.is_empty() && !service.ends_with('.') {
        return None;
    }
    // `api.development.push.apple.com` is the older name of the HTTP/2 sandbox.
    match service.contains("sandbox") || service.contains("development") {
        true => Some(Apple::Sandbox),
        false => Some(Apple::Production),
    }
}

/// Reads what the product needs from a certificate in DER.
pub(crate) fn facts(certificate: &[u8]) -> Result<CertificateFacts, CredentialsError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| CredentialsError::BadCertificate)?;
    let subject = certificate.subject();
    let has = |oid: &Oid<'_>| certificate.iter_extensions().any(|extension| extension.oid == *oid);
    let listed = certificate.iter_extensions().find(|extension| extension.oid == TOPICS);
    let (development, production) = match (has(&DEVELOPMENT), has(&PRODUCTION)) {
        // A universal certificate that says so by its topics alone.
        (false, false) => (listed.is_some(), listed.is_some()),
        said => said,
    };
    let uid = attribute(subject, &UID);
    let mut topics = listed.map(|extension| topics(extension.value)).unwrap_or_default();
    if topics.is_empty() {
        topics.extend(uid.clone());
    }
    let common_name = subject.iter_common_name().find_map(|name| name.as_str().ok()).map(shown);
    let team = subject.iter_organizational_unit().find_map(|unit| unit.as_str().ok()).map(shown);
    Ok(CertificateFacts {
        subject: common_name.unwrap_or_else(|| shown(&subject.to_string())),
        uid,
        topics,
        team,
        not_before: Timestamp::from_secs(certificate.validity().not_before.timestamp()),
        not_after: Timestamp::from_secs(certificate.validity().not_after.timestamp()),
        development,
        production,
    })
}

fn attribute(name: &X509Name<'_>, oid: &Oid<'_>) -> Option<String> {
    let mut attributes = name.iter_attributes().filter(|attribute| attribute.attr_type() == oid);
    attributes.find_map(|attribute| attribute.as_str().ok()).map(shown)
}

/// What a certificate says, without anything that could forge a line of a log.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// A sequence of topics, each followed by a sequence of its kinds; whatever is not a topic is passed over.
fn topics(der: &[u8]) -> Vec<String> {
    let Ok((_, list)) = Sequence::from_der(der) else { return Vec::new() };
    let items: Vec<Any<'_>> = list.der_sequence_of::<Any<'_>, _>().unwrap_or_default();
    items.into_iter().filter_map(|item| Utf8String::try_from(item).ok()).map(|topic| shown(&topic.string())).collect()
}
