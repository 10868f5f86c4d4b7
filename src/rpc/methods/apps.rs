//! `apnsd.apps` and `apnsd.status`: what the apps look like from outside.

use super::{Caller, Method};
use crate::domain::time::Timestamp;
use crate::rpc::values::{count, date_time, structure};
use crate::service::about::About;
use crate::service::status::AppStatus;
use crate::xmlrpc::value::{Fault, Value};

pub(super) const APPS: Method = Method {
    name: "apnsd.apps",
    signatures: &[&["array"]],
    help: "apnsd.apps(): the status of every app that the caller may use, by name; see apnsd.status.",
    run: |caller, _| Box::pin(async { Ok(all(caller)) }),
};

pub(super) const STATUS: Method = Method {
    name: "apnsd.status",
    signatures: &[&["struct"], &["struct", "string"]],
    help: "apnsd.status([app_id]): a struct with app_id, environment, protocol, gateway; state (connected, connecting, \
           idle, waiting, paused, refused), can_send (false where it is paused, refused or cannot reach its gateway), cause (why it cannot send, in words) and since; renewal (new credentials that \
           were refused while the app works with its present ones: when and why, in words; kept in memory until the next \
           accepted provision); waiting, in_flight, oldest \
           (when the oldest waiting notification was accepted); deferred (those of the waiting ones that are not tried \
           again before a time) and next_due; accepted, delivered, rejected (since the daemon started); retries, a \
           struct: how many notifications went back to the queue for each reason, since the daemon started; subject and \
           expires of the certificate; secrets (how the daemon stores its text and passphrase: sealed, plain, or \
           empty where it stores none). What there is not is left out. Without app_id, a struct of the daemon: ready \
           (whether it accepts notifications) and cause (why not, in words), version, started, now, accepted_means (what \
           accepted notifications survive, in words), addresses, and apps, those of apnsd.apps.",
    run: |caller, params| {
        Box::pin(async move {
            match params {
                [] => Ok(daemon(caller)),
                [app, ..] => one(caller, app),
            }
        })
    },
};

fn all(caller: &Caller<'_>) -> Value<'static> {
    let apps = caller.service.apps();
    Value::Array(apps.iter().filter(|app| caller.may_see(Some(app.app_id.as_str()))).map(status).collect())
}

fn daemon(caller: &Caller<'_>) -> Value<'static> {
    facts(caller.about, caller.service.now(), caller.service.trouble(), all(caller))
}

fn facts(about: &About, now: Timestamp, trouble: Option<String>, apps: Value<'static>) -> Value<'static> {
    let addresses = about.addresses.iter().cloned().map(Value::string).collect();
    structure([
        ("ready", Some(Value::Boolean(trouble.is_none()))),
        ("cause", trouble.map(Value::string)),
        ("version", Some(Value::string(env!("CARGO_PKG_VERSION")))),
        ("started", Some(date_time(about.started))),
        ("now", Some(date_time(now))),
        ("accepted_means", Some(Value::string(about.accepted_means))),
        ("addresses", Some(Value::Array(addresses))),
        ("apps", Some(apps)),
    ])
}

fn one(caller: &Caller<'_>, app: &Value<'_>) -> Result<Value<'static>, Fault> {
    Ok(status(&caller.service.status(&caller.app(app)?)?))
}

fn status(app: &AppStatus) -> Value<'static> {
    let [subject, gateway, cause, renewal] =
        [&app.subject, &app.gateway, &app.cause, &app.renewal].map(|text| Some(text).filter(|text| !text.is_empty()));
    structure([
        ("app_id", Some(Value::string(app.app_id.to_string()))),
        ("environment", Some(Value::string(app.environment.clone()))),
        ("protocol", app.protocol.map(|protocol| Value::string(protocol.name()))),
        ("gateway", gateway.map(|gateway| Value::string(gateway.clone()))),
        ("state", Some(Value::string(app.state.word()))),
        ("can_send", Some(Value::Boolean(app.state.can_send()))),
        ("cause", cause.map(|cause| Value::string(cause.clone()))),
        ("renewal", renewal.map(|renewal| Value::string(renewal.clone()))),
        ("since", Some(date_time(app.since))),
        ("waiting", Some(count(app.waiting))),
        ("in_flight", Some(count(app.in_flight))),
        ("oldest", app.oldest.map(date_time)),
        ("deferred", Some(count(app.deferred))),
        ("next_due", app.next_due.map(date_time)),
        ("accepted", Some(count(app.accepted))),
        ("delivered", Some(count(app.delivered))),
        ("rejected", Some(count(app.rejected))),
        ("retries", retries(app)),
        ("subject", subject.map(|subject| Value::string(subject.clone()))),
        ("expires", app.expires.map(date_time)),
        ("secrets", Some(Value::string(app.secrets))),
    ])
}

/// A member for each name of a reason. Numbers that no document names share a name.
fn retries(app: &AppStatus) -> Option<Value<'static>> {
    let mut by_name: Vec<(&str, u64)> = Vec::new();
    for (reason, rows) in &app.retries {
        match by_name.iter_mut().find(|(name, _)| *name == reason.name()) {
            Some((_, sum)) => *sum += rows,
            None => by_name.push((reason.name(), *rows)),
        }
    }
    let members: Vec<_> = by_name.into_iter().map(|(name, rows)| (name.into(), count(rows))).collect();
    (!members.is_empty()).then(|| Value::structure(members))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::{AppId, AppState, Protocol};
    use crate::domain::outcome::Reason;
    use crate::xmlrpc::encode::encode_response;

    fn sample() -> AppStatus {
        AppStatus {
            app_id: AppId::parse("myapp").unwrap(),
            environment: "sandbox".into(),
            protocol: Some(Protocol::Binary),
            gateway: "binary://gateway.sandbox.push.apple.com:2195".into(),
            state: AppState::Paused,
            cause: "certificate expired".into(),
            renewal: "new credentials of 2011-03-13 were refused".into(),
            since: Timestamp::from_secs(1_300_000_000),
            waiting: 3,
            in_flight: 0,
            oldest: Some(Timestamp::from_secs(1_300_000_000)),
            deferred: 2,
            next_due: Some(Timestamp::from_secs(1_300_000_000)),
            retries: vec![
                (Reason::UnknownStatus(9), 3),
                (Reason::ProcessingError, 12),
                (Reason::UnknownStatus(255), 1),
            ],
            accepted: 5_000_000_000,
            delivered: 2,
            rejected: 1,
            subject: "Apple Push Services: com.example.app".into(),
            expires: Some(Timestamp::from_secs(1_300_000_000)),
            secrets: "sealed",
        }
    }

    #[test]
    fn a_daemon_tells_whether_it_accepts_and_what_that_means() {
        let about = About { addresses: vec!["127.0.0.1:7077".into()], accepted_means: "on disk", ..About::default() };
        let told = |trouble: Option<&str>| {
            let apps = Value::Array(vec![status(&sample())]);
            encode_response(&facts(&about, Timestamp::from_secs(1), trouble.map(str::to_owned), apps))
        };
        let well = told(None);
        for member in [
            "<name>ready</name>\n<value><boolean>1</boolean></value>",
            "<name>started</name>\n<value><dateTime.iso8601>19700101T00:00:00</dateTime.iso8601></value>",
            "<name>now</name>\n<value><dateTime.iso8601>19700101T00:00:01</dateTime.iso8601></value>",
            "<name>accepted_means</name>\n<value><string>on disk</string></value>",
            "<value><string>127.0.0.1:7077</string></value>",
            "<name>app_id</name>\n<value><string>myapp</string></value>",
            "<name>can_send</name>\n<value><boolean>0</boolean></value>",
        ] {
            assert!(well.contains(member), "{member} in {well}");
        }
        let full = told(Some("the disk is full"));
        let refused = "<name>ready</name>\n<value><boolean>0</boolean></value>";
        let cause = "<name>cause</name>\n<value><string>the disk is full</string></value>";
        assert!(full.contains(refused) && full.contains(cause), "{full}");
    }

    #[test]
    fn a_status_tells_what_there_is() {
        let mut app = sample();
        let text = encode_response(&status(&app));
        for member in [
            "<name>app_id</name>\n<value><string>myapp</string></value>",
            "<name>protocol</name>\n<value><string>binary</string></value>",
            "<name>since</name>\n<value><dateTime.iso8601>20110313T07:06:40</dateTime.iso8601></value>",
            "<name>waiting</name>\n<value><int>3</int></value>",
            "<name>accepted</name>\n<value><double>5000000000.0</double></value>",
            "<name>renewal</name>\n<value><string>new credentials of 2011-03-13 were refused</string></value>",
            "<name>oldest</name>",
            "<name>deferred</name>\n<value><int>2</int></value>",
            "<name>next_due</name>\n<value><dateTime.iso8601>20110313T07:06:40</dateTime.iso8601></value>",
            "<name>UnknownStatus</name>\n<value><int>4</int></value>",
            "<name>ProcessingError</name>\n<value><int>12</int></value>",
            "<name>subject</name>",
            "<name>expires</name>",
            "<name>secrets</name>\n<value><string>sealed</string></value>",
        ] {
            assert!(text.contains(member), "{member} in {text}");
        }
        app = AppStatus {
            protocol: None,
            gateway: String::new(),
            renewal: String::new(),
            cause: String::new(),
            oldest: None,
            next_due: None,
            retries: Vec::new(),
            subject: String::new(),
            expires: None,
            ..app
        };
        let text = encode_response(&status(&app));
        for absent in [
            "<name>protocol",
            "<name>gateway",
            "cause",
            "renewal",
            "oldest",
            "next_due",
            "retries",
            "subject",
            "expires",
        ] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
    }
}
