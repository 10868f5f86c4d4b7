//! `provision`: adds an app, or replaces what it has.

use super::{Caller, Method};
use crate::rpc::arguments::{Problem, app_id, at, boolean, credentials, members, text, timeout, wrong_type};
use crate::rpc::fault::bad_argument;
use crate::rpc::options::{DEFAULTS, set_default};
use crate::service::request::{CONNECTIONS_MAX, Provision, ProvisionOptions};
use crate::xmlrpc::value::{Fault, Value};

pub(super) const PROVISION: Method = Method {
    name: "provision",
    signatures: &[
        &["nil", "string", "string", "string"],
        &["nil", "string", "string", "string", "int"],
        &["nil", "string", "string", "string", "int", "struct"],
        &["nil", "string", "base64", "string"],
        &["nil", "string", "base64", "string", "int"],
        &["nil", "string", "base64", "string", "int", "struct"],
    ],
    help: "provision(app_id, cert, environment[, timeout[, options]]): adds an app, or replaces what it has, and returns \
           nil. cert is PEM text with certificate and key, a .p8 key, a .p12 file, each also as base64 (a string or the \
           XML-RPC type), or the absolute path of such a file on the daemon's machine. \
           environment is sandbox, production, or another that the daemon's configuration names. timeout bounds \
           connection attempts, in seconds. options: topic, key_id, team_id, passphrase, connections, force, and defaults \
           for notify: expiration, priority, collapse_id, push_type. Without options a bad certificate is told by notify \
           and apnsd.status; with options, even none, it is a fault at once.",
    run: |caller, params| Box::pin(run(caller, params)),
};

const OWN: [&str; 6] = ["topic", "key_id", "team_id", "passphrase", "connections", "force"];

async fn run(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    caller.service.provision(request(params)?).await?;
    Ok(Value::Nil)
}

/// Three to five arguments.
pub(super) fn request(params: &[Value<'_>]) -> Result<Provision, Fault> {
    let [app, certificate, environment, more @ ..] = params else {
        return Err(bad_argument("provision takes 3 to 5 arguments"));
    };
    let (seconds, given) = match more {
        [] => (None, None),
        [seconds] => (Some(seconds), None),
        [seconds, given, ..] => (Some(seconds), Some(given).filter(|given| **given != Value::Nil)),
    };
    Ok(Provision {
        app_id: app_id(app)?.into_owned(),
        certificate: credentials(certificate).map_err(at("cert"))?,
        environment: text(environment).map_err(at("environment"))?.to_owned(),
        timeout: seconds.map_or(Ok(None), timeout).map_err(at("timeout"))?,
        options: given.map(options).transpose()?,
    })
}

fn options(value: &Value<'_>) -> Result<ProvisionOptions, Fault> {
    let mut options = ProvisionOptions::default();
    let known: Vec<&str> = OWN.into_iter().chain(DEFAULTS).collect();
    for (name, value) in members(value, "options", &known)? {
        let place = format!("options.{name}");
        let string = || word(value).map(Some).map_err(at(&place));
        match name {
            "topic" => options.topic = string()?,
            "key_id" => options.key_id = string()?,
            "team_id" => options.team_id = string()?,
            "passphrase" => options.passphrase = Some(text(value).map_err(at(&place))?.to_owned()),
            "connections" => options.connections = Some(connections(value).map_err(at(&place))?),
            "force" => options.force = boolean(value).map_err(at(&place))?,
            name => set_default(&mut options.notify, name, value)?,
        }
    }
    Ok(options)
}

fn word(value: &Value<'_>) -> Result<String, Problem> {
    match text(value)? {
        "" => Err("an empty string is not allowed".to_owned()),
        text if text.chars().any(char::is_control) => Err("control characters are not allowed".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn connections(value: &Value<'_>) -> Result<u32, Problem> {
    match value {
        Value::Int(number) => match u32::try_from(*number) {
            Ok(count @ 1..=CONNECTIONS_MAX) => Ok(count),
            Ok(_) | Err(_) => Err(format!("1 to {CONNECTIONS_MAX} are allowed, not {number}")),
        },
        other => Err(wrong_type("an int", other)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::service::request::{NotifyOptions, PerRow};

    fn with(more: Vec<Value<'static>>) -> Result<Provision, String> {
        let mut params = vec![Value::Int(7), Value::string("/a.pem"), Value::string("sandbox")];
        params.extend(more);
        request(&params).map_err(|fault| {
            assert_eq!(fault.code, 8002);
            fault.text
        })
    }

    fn structure(members: Vec<(&'static str, Value<'static>)>) -> Value<'static> {
        Value::Struct(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    #[test]
    fn three_and_four_arguments_are_pyapns_own() {
        let plain = Provision {
            app_id: "7".into(),
            certificate: "/a.pem".into(),
            environment: "sandbox".into(),
            timeout: None,
            options: None,
        };
        assert_eq!(with(vec![]).unwrap(), plain);
        assert_eq!(with(vec![Value::Nil]).unwrap(), plain);
        assert_eq!(with(vec![Value::Nil, Value::Nil]).unwrap(), plain);
        let fifteen = Provision { timeout: Some(Duration::from_secs(15)), ..plain };
        assert_eq!(with(vec![Value::Int(15)]).unwrap(), fifteen);
    }

    #[test]
    fn a_fifth_argument_has_options_of_the_app_and_defaults_for_its_notifications() {
        let options = structure(vec![
            ("topic", Value::string("com.example.app")),
            ("key_id", Value::string("K")),
            ("team_id", Value::string("T")),
            ("passphrase", Value::string("")),
            ("connections", Value::Int(2)),
            ("force", Value::Boolean(true)),
            ("priority", Value::Int(5)),
        ]);
        let expected = ProvisionOptions {
            topic: Some("com.example.app".into()),
            key_id: Some("K".into()),
            team_id: Some("T".into()),
            passphrase: Some(String::new()),
            passphrase_file: None,
            connections: Some(2),
            force: true,
            notify: NotifyOptions { priority: PerRow::All(5), ..NotifyOptions::default() },
        };
        assert_eq!(with(vec![Value::Nil, options]).unwrap().options, Some(expected));
        let none = with(vec![Value::Nil, structure(vec![])]).unwrap();
        assert_eq!(none.options, Some(ProvisionOptions::default()));
    }

    #[test]
    fn a_file_may_come_as_base64() {
        let certificate = |bytes: &[u8]| {
            let params = [Value::string("a"), Value::Base64(bytes.to_vec()), Value::string("sandbox")];
            request(&params).unwrap().certificate
        };
        assert_eq!(certificate(b"-----BEGIN CERTIFICATE-----"), "-----BEGIN CERTIFICATE-----");
        assert_eq!(certificate(b"\x30\x82\x0b\xad"), "MIILrQ==");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let told = |more| with(more).unwrap_err();
        assert_eq!(told(vec![Value::string("15")]), "timeout: a number of seconds, or nil, is needed, not string");
        assert_eq!(told(vec![Value::Nil, Value::Int(1)]), "options: a struct is needed, not int");
        let option = |name, value| vec![Value::Nil, structure(vec![(name, value)])];
        assert_eq!(told(option("connections", Value::Int(0))), "options.connections: 1 to 1000 are allowed, not 0");
        assert_eq!(told(option("force", Value::Int(1))), "options.force: a boolean is needed, not int");
        assert_eq!(told(option("priority", Value::Int(3))), "options.priority: 10, 5 or 1 is needed, not 3");
        let known =
            "topic, key_id, team_id, passphrase, connections, force, expiration, priority, collapse_id, push_type";
        assert_eq!(
            told(option("request_id", Value::Int(1))),
            format!("options.request_id: unknown; there are {known}")
        );
        let fault = request(&[Value::string("a"), Value::Int(1), Value::string("sandbox")]).unwrap_err();
        assert_eq!(fault.text, "cert: a string or base64 is needed, not int");
    }
}
