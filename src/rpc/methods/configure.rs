//! `configure`: the settings of pyapns' clients, of which only the apps to provision concern the daemon.

use super::provision;
use super::{Caller, Method};
use crate::rpc::arguments::{at, members, timeout, wrong_type};
use crate::rpc::fault::bad_argument;
use crate::service::request::Provision;
use crate::xmlrpc::value::{Fault, Value};

pub(super) const CONFIGURE: Method = Method {
    name: "configure",
    signatures: &[&["boolean", "struct"]],
    help: "configure(settings): provisions every entry of INITIAL, a list of argument lists for provision, and returns \
           true. The keys are those of pyapns' PYAPNS_CONFIG; TIMEOUT and HOST concern the caller alone and are ignored. \
           An entry that fails does not stop those behind it; the first failure is the answer.",
    run: |caller, params| Box::pin(run(caller, params)),
};

async fn run(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let [settings] = params else { return Err(bad_argument("configure takes 1 argument")) };
    let mut first_failure = None;
    let requests = initial(settings)?;
    for (index, request) in requests.iter().enumerate() {
        caller.permit_app(Some(&request.app_id)).map_err(in_entry(index))?;
    }
    for (index, request) in requests.into_iter().enumerate() {
        if let Err(error) = caller.service.provision(request).await {
            first_failure.get_or_insert_with(|| in_entry(index)(error.into()));
        }
    }
    first_failure.map_or(Ok(Value::Boolean(true)), Err)
}

/// What is to be provisioned. All entries are read before the first of them has an effect.
fn initial(settings: &Value<'_>) -> Result<Vec<Provision>, Fault> {
    let mut requests = Vec::new();
    for (name, value) in members(settings, "settings", &["HOST", "TIMEOUT", "INITIAL"])? {
        match (name, value) {
            ("TIMEOUT", value) => drop(timeout(value).map_err(at("settings.TIMEOUT"))?),
            ("INITIAL", Value::Array(entries)) => {
                requests = entries.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
            }
            ("INITIAL", other) => return Err(at("settings.INITIAL")(wrong_type("an array", other))),
            ("HOST", _) => {}
            (other, _) => return Err(bad_argument(format!("settings.{other}: unknown"))),
        }
    }
    Ok(requests)
}

fn entry((index, entry): (usize, &Value<'_>)) -> Result<Provision, Fault> {
    match entry {
        Value::Array(arguments) => {
            provision::PROVISION.check_count(arguments.len()).map_err(in_entry(index))?;
            provision::request(arguments).map_err(in_entry(index))
        }
        other => Err(in_entry(index)(bad_argument(wrong_type("an array of provision's arguments", other)))),
    }
}

/// Names the entry that a fault is about.
fn in_entry(index: usize) -> impl FnOnce(Fault) -> Fault {
    move |fault| Fault { text: format!("INITIAL[{index}]: {}", fault.text), ..fault }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(members: Vec<(&'static str, Value<'static>)>) -> Value<'static> {
        Value::Struct(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    fn list(texts: &[&'static str]) -> Value<'static> {
        Value::Array(texts.iter().copied().map(Value::string).collect())
    }

    #[test]
    fn the_settings_of_pyapns_are_taken() {
        let mut with_timeout = match list(&["b", "/b.pem", "production"]) {
            Value::Array(values) => values,
            other => panic!("{other:?}"),
        };
        with_timeout.push(Value::Int(15));
        let settings = settings(vec![
            ("HOST", Value::string("http://localhost:7077/")),
            ("TIMEOUT", Value::Int(15)),
            ("INITIAL", Value::Array(vec![list(&["a", "/a.pem", "sandbox"]), Value::Array(with_timeout)])),
        ]);
        let requests = initial(&settings).unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!((&*requests[0].app_id, requests[0].timeout), ("a", None));
        assert_eq!((&*requests[1].app_id, requests[1].timeout), ("b", Some(Duration::from_secs(15))));
    }

    #[test]
    fn nothing_to_provision_is_fine() {
        assert_eq!(initial(&settings(vec![])), Ok(vec![]));
        assert_eq!(initial(&settings(vec![("INITIAL", Value::Array(vec![])), ("TIMEOUT", Value::Nil)])), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_entry() {
        let told = |value| initial(&value).unwrap_err().text;
        assert_eq!(told(Value::Nil), "settings: a struct is needed, not nil");
        assert_eq!(
            told(settings(vec![("PORT", Value::Int(1))])),
            "settings.PORT: unknown; there are HOST, TIMEOUT, INITIAL"
        );
        let bad_list = settings(vec![("INITIAL", Value::Int(1))]);
        assert_eq!(told(bad_list), "settings.INITIAL: an array is needed, not int");
        let entries = |bad| settings(vec![("INITIAL", Value::Array(vec![list(&["a", "/a.pem", "sandbox"]), bad]))]);
        assert_eq!(told(entries(list(&["b"]))), "INITIAL[1]: provision takes 3 to 5 arguments, 1 given");
        assert_eq!(told(entries(Value::Int(1))), "INITIAL[1]: an array of provision's arguments is needed, not int");
        let bad_argument = Value::Array(vec![Value::string("b"), Value::Nil, Value::string("sandbox")]);
        assert_eq!(told(entries(bad_argument)), "INITIAL[1]: cert: a string or base64 is needed, not nil");
    }
}
