//! `notify`: the shapes in which callers give tokens and notifications, and what they become.

use std::slice;

use super::{Caller, Method};
use crate::rpc::arguments::{at, text, wrong_type};
use crate::rpc::fault::bad_argument;
use crate::rpc::options;
use crate::rpc::payloads::Payloads;
use crate::service::App;
use crate::service::request::{Notify, NotifyOptions};
use crate::xmlrpc::value::{Fault, Value};

pub(super) const NOTIFY: Method = Method {
    name: "notify",
    signatures: &[
        &["nil", "string", "string", "struct"],
        &["nil", "string", "array", "array"],
        &["nil", "string", "array", "struct"],
        &["nil", "string", "string", "struct", "struct"],
        &["nil", "string", "array", "array", "struct"],
        &["nil", "string", "array", "struct", "struct"],
    ],
    help: "notify(app_id, token(s), notification(s)[, options]): accepts notifications for delivery and returns nil. One \
           token and one notification, arrays of the same length, or many tokens and one notification for all. A \
           notification is a struct, or a string that holds a JSON object. Tokens are hex or base64. options: expiration, \
           priority, collapse_id, push_type, topic, each one value or an array as long as the tokens, and request_id, \
           under which the same call has an effect only once. If anything is wrong, nothing is accepted.",
    run: |caller, params| Box::pin(run(caller, params)),
};

async fn run(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let (app, request) = arguments(caller, params)?;
    if !request.tokens.is_empty() {
        caller.service.notify(&app, request).await?;
    }
    Ok(Value::Nil)
}

/// The arguments of a call that is like `notify`.
pub(super) fn arguments<'a>(caller: &Caller<'_>, params: &'a [Value<'_>]) -> Result<(App, Notify<'a>), Fault> {
    let [app, arguments @ ..] = params else { return Err(bad_argument("3 or 4 arguments are needed")) };
    let app = caller.app(app)?;
    let request = request(arguments, |given| check_count(given, caller.settings.tokens_per_call))?;
    Ok((app, request))
}

/// Whether so many tokens may come in one call.
pub(super) fn check_count(given: usize, tokens_max: usize) -> Result<(), Fault> {
    match given > tokens_max {
        true => Err(bad_argument(format!(
            "tokens: {given} in one call, at most {tokens_max} are allowed (limits.tokens_per_call)"
        ))),
        false => Ok(()),
    }
}

/// The arguments behind the app id.
fn request<'a>(
    arguments: &'a [Value<'_>],
    check_count: impl FnOnce(usize) -> Result<(), Fault>,
) -> Result<Notify<'a>, Fault> {
    let (request, options) = without_options(arguments, check_count)?;
    let options =
        options.map_or(Ok(NotifyOptions::default()), |given| options::of_notify(given, request.tokens.len()))?;
    Ok(Notify { options, ..request })
}

/// The same with the options as they were given, unless nothing or nil is.
pub(super) fn without_options<'a, 'b>(
    arguments: &'a [Value<'b>],
    check_count: impl FnOnce(usize) -> Result<(), Fault>,
) -> Result<(Notify<'a>, Option<&'a Value<'b>>), Fault> {
    let [tokens, notifications, more @ ..] = arguments else {
        return Err(bad_argument("3 or 4 arguments are needed"));
    };
    let (tokens, payloads) = match tokens {
        Value::String(token) => (vec![token.as_ref()], for_one(notifications)?),
        Value::Array(values) => {
            check_count(values.len())?;
            (token_texts(values)?, for_many(notifications, values.len())?)
        }
        other => return Err(at("tokens")(wrong_type("a string or an array of strings", other))),
    };
    let payload_of = if payloads.distinct.len() > 1 { payloads.of } else { Vec::new() };
    let request = Notify { tokens, payloads: payloads.distinct, payload_of, options: NotifyOptions::default() };
    Ok((request, more.first().filter(|given| **given != Value::Nil)))
}

fn token_texts<'a>(values: &'a [Value<'_>]) -> Result<Vec<&'a str>, Fault> {
    let token = |(index, value)| text(value).map_err(|problem| at(&format!("token {index}"))(problem));
    values.iter().enumerate().map(token).collect()
}

/// One token: one notification, which pyapns' Ruby client puts into an array.
fn for_one(notifications: &Value<'_>) -> Result<Payloads, Fault> {
    match notifications {
        Value::Array(list) if list.len() == 1 => encode(list),
        Value::Array(list) => Err(lengths_differ("1 token", list.len())),
        notification => encode(slice::from_ref(notification)),
    }
}

/// An array of tokens: an array with a notification for each, or one notification for all.
fn for_many(notifications: &Value<'_>, tokens: usize) -> Result<Payloads, Fault> {
    match notifications {
        Value::Array(list) if list.len() == tokens => encode(list),
        Value::Array(list) if tokens == 1 => Err(lengths_differ("1 token", list.len())),
        Value::Array(list) => Err(lengths_differ(&format!("{tokens} tokens"), list.len())),
        notification => encode(slice::from_ref(notification)),
    }
}

fn lengths_differ(tokens: &str, notifications: usize) -> Fault {
    bad_argument(format!(
        "notifications: {tokens} and an array of {notifications}; give one notification per token, or a single one for all"
    ))
}

fn encode(notifications: &[Value<'_>]) -> Result<Payloads, Fault> {
    Payloads::encode(notifications).map_err(|(index, error)| bad_argument(format!("notification {index}: {error}")))
}

#[cfg(test)]
mod tests;
