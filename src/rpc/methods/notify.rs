//! `notify`: the shapes in which callers give tokens and notifications, and what they become.

use std::slice;

use super::{Caller, Method};
use crate::rpc::arguments::{at, text, wrong_type};
use crate::rpc::fault::bad_argument;
use crate::rpc::options;
use crate::rpc::payloads::Payloads;
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
    let [app, arguments @ ..] = params else { return Err(bad_argument("notify takes 3 or 4 arguments")) };
    let app = caller.app(app)?;
    let request = request(arguments, caller.settings.tokens_per_call)?;
    if !request.tokens.is_empty() {
        caller.service.notify(&app, request).await?;
    }
    Ok(Value::Nil)
}

/// The arguments behind the app id.
fn request<'a>(arguments: &'a [Value<'_>], tokens_max: usize) -> Result<Notify<'a>, Fault> {
    let [tokens, notifications, more @ ..] = arguments else {
        return Err(bad_argument("notify takes 3 or 4 arguments"));
    };
    let (tokens, payloads) = match tokens {
        Value::String(token) => (vec![token.as_ref()], for_one(notifications)?),
        Value::Array(values) if values.len() > tokens_max => {
            let given = values.len();
            let text =
                format!("tokens: {given} in one call, at most {tokens_max} are allowed (limits.tokens_per_call)");
            return Err(bad_argument(text));
        }
        Value::Array(values) => (token_texts(values)?, for_many(notifications, values.len())?),
        other => return Err(at("tokens")(wrong_type("a string or an array of strings", other))),
    };
    let options = match more {
        [] | [Value::Nil] => NotifyOptions::default(),
        [given, ..] => options::of_notify(given, tokens.len())?,
    };
    let payload_of = if payloads.distinct.len() > 1 { payloads.of } else { Vec::new() };
    Ok(Notify { tokens, payloads: payloads.distinct, payload_of, options })
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
