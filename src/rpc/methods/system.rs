//! The `system.*` methods: introspection, and many calls in one.

use super::{Caller, METHODS, Method, find};
use crate::rpc::arguments::{at, text, wrong_type};
use crate::rpc::fault::bad_argument;
use crate::rpc::values::{fault_struct, structure};
use crate::xmlrpc::value::{Fault, Value};

/// Most calls in one `system.multicall`.
const CALLS_MAX: usize = 1000;

pub(super) const LIST_METHODS: Method = Method {
    name: "system.listMethods",
    signatures: &[&["array"]],
    help: "system.listMethods(): the names of all methods.",
    run: |_, _| Box::pin(async { Ok(list_methods()) }),
};

pub(super) const METHOD_HELP: Method = Method {
    name: "system.methodHelp",
    signatures: &[&["string", "string"]],
    help: "system.methodHelp(name): what a method does.",
    run: |_, params| Box::pin(async { Ok(Value::string(described(params)?.help)) }),
};

pub(super) const METHOD_SIGNATURE: Method = Method {
    name: "system.methodSignature",
    signatures: &[&["array", "string"]],
    help: "system.methodSignature(name): the ways to call a method, each an array of types: that of the answer, then \
           those of the arguments. App ids may be ints too.",
    run: |_, params| Box::pin(async { Ok(signatures(described(params)?)) }),
};

pub(super) const MULTICALL: Method = Method {
    name: "system.multicall",
    signatures: &[&["array", "array"]],
    help: "system.multicall(calls): makes up to 1000 calls, one after the other, each a struct with methodName and \
           params; those of apnsd.send wait for at most 60 seconds in all. The answer has for each an array with its answer, or a struct with faultCode and faultString.",
    run: |caller, params| Box::pin(multicall(caller, params)),
};

pub(super) const CAPABILITIES: Method = Method {
    name: "system.getCapabilities",
    signatures: &[&["struct"]],
    help: "system.getCapabilities(): the specifications that this server follows, each with specUrl and specVersion.",
    run: |_, _| Box::pin(async { Ok(capabilities()) }),
};

fn list_methods() -> Value<'static> {
    Value::Array(METHODS.iter().map(|method| Value::string(method.name)).collect())
}

/// The method that the only argument names.
fn described(params: &[Value<'_>]) -> Result<&'static Method, Fault> {
    let [name] = params else { return Err(bad_argument("the name of a method is needed")) };
    find(text(name).map_err(at("name"))?)
}

fn signatures(method: &Method) -> Value<'static> {
    let types = |types: &&[&'static str]| Value::Array(types.iter().copied().map(Value::string).collect());
    Value::Array(method.signatures.iter().map(types).collect())
}

async fn multicall(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let calls = match params {
        [Value::Array(calls)] if calls.len() <= CALLS_MAX => calls,
        [Value::Array(calls)] => {
            let given = calls.len();
            return Err(bad_argument(format!(
                "calls: at most {CALLS_MAX} are allowed in one system.multicall, not {given}"
            )));
        }
        [other, ..] => return Err(at("calls")(wrong_type("an array", other))),
        [] => return Err(bad_argument("system.multicall takes 1 argument")),
    };
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        let answer = match inner_call(call) {
            Ok((name, params)) => caller.call(name, params).await,
            Err(fault) => Err(fault),
        };
        answers.push(answer.map_or_else(fault_struct, |answer| Value::Array(vec![answer])));
    }
    Ok(Value::Array(answers))
}

/// Name and params of one call in a `system.multicall`.
fn inner_call<'a>(call: &'a Value<'a>) -> Result<(&'a str, &'a [Value<'a>]), Fault> {
    let Value::Struct(members) = call else {
        return Err(bad_argument(wrong_type("a struct with methodName and params", call)));
    };
    let member = |wanted| members.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let name = match member("methodName") {
        Some(Value::String(name)) => name.trim_ascii(),
        Some(other) => return Err(at("methodName")(wrong_type("a string", other))),
        None => return Err(bad_argument("methodName: missing")),
    };
    if name == MULTICALL.name {
        return Err(bad_argument("system.multicall is not allowed within system.multicall"));
    }
    match member("params") {
        Some(Value::Array(params)) => Ok((name, params)),
        Some(other) => Err(at("params")(wrong_type("an array", other))),
        None => Ok((name, &[])),
    }
}

fn capabilities() -> Value<'static> {
    let follows = |url, version| {
        Some(structure([("specUrl", Some(Value::string(url))), ("specVersion", Some(Value::Int(version)))]))
    };
    structure([
        ("xmlrpc", follows("http://www.xmlrpc.com/spec", 1)),
        ("system.multicall", follows("http://www.xmlrpc.com/discuss/msgReader$1208", 1)),
        ("introspection", follows("http://phpxmlrpc.sourceforge.net/doc-2/ch10.html", 2)),
        ("nil", follows("http://www.ontosys.com/xml-rpc/extensions.php", 1)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(members: Vec<(&'static str, Value<'static>)>) -> Value<'static> {
        Value::Struct(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    #[test]
    fn all_methods_are_listed() {
        let Value::Array(names) = list_methods() else { panic!("an array") };
        assert_eq!(names.first(), Some(&Value::string("configure")));
        assert_eq!(names.last(), Some(&Value::string("system.getCapabilities")));
        assert_eq!(names.len(), METHODS.len());
    }

    #[test]
    fn a_method_is_described_by_its_name() {
        assert!(described(&[Value::string("apnsd.status")]).unwrap().help.starts_with("apnsd.status([app_id]): "));
        let status = signatures(described(&[Value::string("apnsd.status")]).unwrap());
        let of_all = Value::Array(vec![Value::string("struct")]);
        let of_one = Value::Array(vec![Value::string("struct"), Value::string("string")]);
        assert_eq!(status, Value::Array(vec![of_all, of_one]));
        let told = |name| described(&[name]).err().map(|fault| (fault.code, fault.text)).unwrap();
        assert_eq!(told(Value::string("nosuch")), (8001, "procedure nosuch not found".to_owned()));
        assert_eq!(told(Value::Nil), (8002, "name: a string is needed, not nil".to_owned()));
    }

    #[test]
    fn a_call_within_a_call_has_a_name_and_perhaps_params() {
        let params = Value::Array(vec![Value::Int(1)]);
        let whole = call(vec![("methodName", Value::string(" feedback\n")), ("params", params)]);
        assert_eq!(inner_call(&whole), Ok(("feedback", &[Value::Int(1)][..])));
        let bare = call(vec![("methodName", Value::string("apnsd.apps"))]);
        assert_eq!(inner_call(&bare), Ok(("apnsd.apps", &[][..])));
    }

    #[test]
    fn what_is_wrong_with_a_call_within_a_call_is_told() {
        let told = |value: Value<'static>| inner_call(&value).unwrap_err().text;
        assert_eq!(told(Value::Nil), "a struct with methodName and params is needed, not nil");
        assert_eq!(told(call(vec![])), "methodName: missing");
        assert_eq!(told(call(vec![("methodName", Value::Int(1))])), "methodName: a string is needed, not int");
        let bad_params = call(vec![("methodName", Value::string("x")), ("params", Value::Int(1))]);
        assert_eq!(told(bad_params), "params: an array is needed, not int");
        let nested = call(vec![("methodName", Value::string("system.multicall"))]);
        assert_eq!(told(nested), "system.multicall is not allowed within system.multicall");
    }
}
