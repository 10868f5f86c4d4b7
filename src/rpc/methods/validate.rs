//! `apnsd.validate`: a dry run of `notify`.

use super::notify::arguments;
use super::{Caller, Method};
use crate::domain::batch::PushOptions;
use crate::rpc::values::{count, structure};
use crate::service::validate::Validated;
use crate::xmlrpc::value::{Fault, Value};

pub(super) const VALIDATE: Method = Method {
    name: "apnsd.validate",
    signatures: &[
        &["struct", "string", "string", "struct"],
        &["struct", "string", "array", "array"],
        &["struct", "string", "array", "struct"],
        &["struct", "string", "string", "struct", "struct"],
        &["struct", "string", "array", "array", "struct"],
        &["struct", "string", "array", "struct", "struct"],
    ],
    help: "apnsd.validate(app_id, token(s), notification(s)[, options]): checks a call of notify, with the same faults, \
           and queues nothing. The answer has notifications and payloads (how many, equal ones once), payload_bytes (the \
           largest, as JSON), protocol, environment, and options: what they would be sent with, as far as all of them \
           agree and the protocol has a field for it (expiration in Unix seconds).",
    run: |caller, params| Box::pin(run(caller, params)),
};

async fn run(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let (app, request) = arguments(caller, params)?;
    Ok(told(&caller.service.validate(&app, &request)?))
}

fn told(validated: &Validated) -> Value<'static> {
    let size = |number: usize| Some(count(number as u64));
    structure([
        ("notifications", Some(count(validated.notifications.into()))),
        ("payloads", size(validated.payloads)),
        ("payload_bytes", size(validated.payload_bytes)),
        ("protocol", Some(Value::string(validated.protocol.name()))),
        ("environment", Some(Value::string(validated.environment.to_string()))),
        ("options", Some(options(&validated.options))),
    ])
}

fn options(options: &PushOptions) -> Value<'static> {
    let PushOptions { expiration, priority, collapse_id, push_type, topic } = options;
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(|text| Value::string(text.to_owned()));
    structure([
        ("expiration", expiration.map(|seconds| count(seconds.into()))),
        ("priority", priority.map(|priority| Value::Int(priority.into()))),
        ("collapse_id", text(collapse_id)),
        ("push_type", text(push_type)),
        ("topic", text(topic)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::Protocol;

    #[test]
    fn a_call_is_told_in_numbers_and_effective_options() {
        let validated = Validated {
            notifications: 3,
            payloads: 2,
            payload_bytes: 27,
            protocol: Protocol::Http2,
            environment: "sandbox".into(),
            options: PushOptions { priority: Some(5), topic: Some("com.x".into()), ..PushOptions::default() },
        };
        let options = vec![("priority".into(), Value::Int(5)), ("topic".into(), Value::string("com.x"))];
        let members = [
            ("notifications", Value::Int(3)),
            ("payloads", Value::Int(2)),
            ("payload_bytes", Value::Int(27)),
            ("protocol", Value::string("http2")),
            ("environment", Value::string("sandbox")),
            ("options", Value::structure(options)),
        ];
        assert_eq!(told(&validated), Value::Struct(members.map(|(name, value)| (name.into(), value)).into()));
    }
}
