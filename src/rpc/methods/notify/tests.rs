//! Shapes of `notify`, from the XML of the call to the request for the verb.

use super::*;
use crate::service::request::PerRow;
use crate::xmlrpc::decode::{Limits, decode_call};

const A: &str = "<value>aa</value>";
const B: &str = "<value><string>bb</string></value>";
const ONE: &str = "<value><struct><member><name>aps</name><value><struct><member><name>badge</name>\
                   <value><int>1</int></value></member></struct></value></member></struct></value>";
const TWO: &str = "<value><string>{\"aps\": {\"badge\": 2}}</string></value>";

fn array(values: &[&str]) -> String {
    format!("<value><array><data>{}</data></array></value>", values.concat())
}

/// Tokens, payloads, the payload of each token, and the options that are not the default.
type Taken = (Vec<String>, Vec<String>, Vec<u32>, NotifyOptions);

fn taken(arguments: &[&str]) -> Result<Taken, String> {
    let params: String = arguments.iter().map(|argument| format!("<param>{argument}</param>")).collect();
    let xml = format!("<methodCall><methodName>notify</methodName><params>{params}</params></methodCall>");
    let call = decode_call(&xml, &Limits::default()).unwrap();
    let notify = request(&call.params, |given| check_count(given, 3)).map_err(|fault| {
        assert_eq!(fault.code, 8002);
        fault.text
    })?;
    let tokens = notify.tokens.iter().map(|token| (*token).to_owned()).collect();
    let payloads = notify.payloads.iter().map(|payload| String::from_utf8(payload.to_vec()).unwrap()).collect();
    Ok((tokens, payloads, notify.payload_of, notify.options))
}

fn plain(tokens: &[&str], payloads: &[&str], payload_of: &[u32]) -> Result<Taken, String> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Ok((owned(tokens), owned(payloads), payload_of.to_vec(), NotifyOptions::default()))
}

const BADGE_1: &str = "{\"aps\":{\"badge\":1}}";
const BADGE_2: &str = "{\"aps\":{\"badge\":2}}";

#[test]
fn one_token_and_one_notification() {
    assert_eq!(taken(&[A, ONE]), plain(&["aa"], &[BADGE_1], &[]));
    assert_eq!(taken(&[A, TWO]), plain(&["aa"], &[BADGE_2], &[]));
}

#[test]
fn one_token_and_an_array_of_one_as_the_ruby_client_sends_it() {
    assert_eq!(taken(&[A, &array(&[ONE])]), plain(&["aa"], &[BADGE_1], &[]));
}

#[test]
fn arrays_of_the_same_length() {
    assert_eq!(taken(&[&array(&[A, B]), &array(&[ONE, TWO])]), plain(&["aa", "bb"], &[BADGE_1, BADGE_2], &[0, 1]));
    let three = taken(&[&array(&[A, B, A]), &array(&[TWO, ONE, TWO])]);
    assert_eq!(three, plain(&["aa", "bb", "aa"], &[BADGE_2, BADGE_1], &[0, 1, 0]));
}

#[test]
fn equal_notifications_are_one_payload() {
    assert_eq!(taken(&[&array(&[A, B]), &array(&[ONE, ONE])]), plain(&["aa", "bb"], &[BADGE_1], &[]));
}

#[test]
fn many_tokens_and_one_notification_for_all() {
    assert_eq!(taken(&[&array(&[A, B]), ONE]), plain(&["aa", "bb"], &[BADGE_1], &[]));
    assert_eq!(taken(&[&array(&[A, B]), TWO]), plain(&["aa", "bb"], &[BADGE_2], &[]));
}

#[test]
fn no_token_at_all_is_nothing_to_do() {
    assert_eq!(taken(&[&array(&[]), &array(&[])]), plain(&[], &[], &[]));
    assert_eq!(taken(&[&array(&[]), ONE]).unwrap().0, Vec::<String>::new());
}

#[test]
fn lengths_that_differ_are_refused() {
    let hint = "give one notification per token, or a single one for all";
    let told = |arguments: &[&str]| taken(arguments).unwrap_err();
    let two_one = told(&[&array(&[A, B]), &array(&[ONE])]);
    assert_eq!(two_one, format!("notifications: 2 tokens and an array of 1; {hint}"));
    assert_eq!(told(&[A, &array(&[ONE, TWO])]), format!("notifications: 1 token and an array of 2; {hint}"));
    assert_eq!(told(&[A, &array(&[])]), format!("notifications: 1 token and an array of 0; {hint}"));
    assert_eq!(told(&[&array(&[A]), &array(&[])]), format!("notifications: 1 token and an array of 0; {hint}"));
    assert_eq!(told(&[&array(&[]), &array(&[ONE])]), format!("notifications: 0 tokens and an array of 1; {hint}"));
}

#[test]
fn what_is_not_a_token_or_a_notification_is_named_with_its_index() {
    let told = |arguments: &[&str]| taken(arguments).unwrap_err();
    assert_eq!(
        told(&["<value><int>1</int></value>", ONE]),
        "tokens: a string or an array of strings is needed, not int"
    );
    let tokens = array(&[A, "<value><nil/></value>"]);
    assert_eq!(told(&[&tokens, ONE]), "token 1: a string is needed, not nil");
    let needed = "a struct, or a string that holds a JSON object, is needed";
    assert_eq!(told(&[A, "<value><int>1</int></value>"]), format!("notification 0: {needed}, not int"));
    let list = array(&[ONE, "<value><boolean>1</boolean></value>"]);
    assert_eq!(told(&[&array(&[A, B]), &list]), format!("notification 1: {needed}, not boolean"));
    let list = array(&[ONE, "<value><string>[]</string></value>"]);
    let problem = "the string does not hold a JSON object: it does not begin with `{`";
    assert_eq!(told(&[&array(&[A, B]), &list]), format!("notification 1: {problem}"));
    let date = "<value><struct><member><name>aps</name><value><struct><member><name>when</name><value>\
                <dateTime.iso8601>20110313T07:06:40</dateTime.iso8601></value></member></struct></value></member></struct></value>";
    assert_eq!(told(&[A, date]), "notification 0: aps.when: dateTime.iso8601 has no JSON form");
    let list = array(&[ONE, date]);
    assert_eq!(told(&[&array(&[A, B]), &list]), "notification 1: aps.when: dateTime.iso8601 has no JSON form");
}

#[test]
fn more_tokens_than_allowed_are_refused() {
    let told = taken(&[&array(&[A, A, A, A]), ONE]).unwrap_err();
    assert_eq!(told, "tokens: 4 in one call, at most 3 are allowed (limits.tokens_per_call)");
}

#[test]
fn options_may_be_given_and_may_be_nil() {
    let options = "<value><struct><member><name>priority</name><value><int>5</int></value></member></struct></value>";
    assert_eq!(taken(&[A, ONE, options]).unwrap().3.priority, PerRow::All(5));
    assert_eq!(taken(&[A, ONE, "<value><nil/></value>"]), plain(&["aa"], &[BADGE_1], &[]));
    assert_eq!(taken(&[A, ONE, A]).unwrap_err(), "options: a struct is needed, not string");
}
