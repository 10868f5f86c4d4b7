//! What is accepted; the refusals and the properties are in files of their own.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::xmlrpc::charset::decode_text;

mod properties;
mod refusals;

const LIMITS: Limits = Limits { depth: 64 };

fn call(text: &str) -> Result<MethodCall<'_>, String> {
    decode_call(text, &LIMITS).map_err(|error| error.to_string())
}

fn response(text: &str) -> Result<Result<Value<'_>, Fault>, String> {
    decode_response(text, &LIMITS).map_err(|error| error.to_string())
}

/// A call whose one value stands on line 2 from column 0.
fn call_with(value: &str) -> String {
    format!(
        "<methodCall><methodName>m</methodName><params><param>\n\
         {value}</param></params></methodCall>"
    )
}

#[track_caller]
fn accepts(value: &str, expected: Value<'_>) {
    let text = call_with(value);
    assert_eq!(call(&text).map(|call| call.params), Ok(vec![expected]), "{value}");
}

#[track_caller]
fn refuses(value: &str, expected: &str) {
    assert_eq!(call(&call_with(value)), Err(expected.to_owned()), "{value}");
}

#[track_caller]
fn refuses_call(text: &str, expected: &str) {
    assert_eq!(call(text), Err(expected.to_owned()), "{text}");
}

fn member<'a>(name: &'a str, value: Value<'a>) -> (Cow<'a, str>, Value<'a>) {
    (name.into(), value)
}

#[test]
fn every_type_is_read() {
    accepts("<value><int>-12</int></value>", Value::Int(-12));
    accepts("<value><i4>12</i4></value>", Value::Int(12));
    accepts("<value><i8>9223372036854775807</i8></value>", Value::Int(i64::MAX));
    accepts("<value><ex:i8>-9223372036854775808</ex:i8></value>", Value::Int(i64::MIN));
    accepts("<value><i1>-128</i1></value>", Value::Int(-128));
    accepts("<value><ex:i2>32767</ex:i2></value>", Value::Int(32767));
    accepts("<value><boolean>1</boolean></value>", Value::Boolean(true));
    accepts("<value><boolean>0</boolean></value>", Value::Boolean(false));
    accepts("<value><double>-12.214</double></value>", Value::Double(-12.214));
    accepts("<value><ex:float>1.5</ex:float></value>", Value::Double(1.5));
    accepts("<value><string>hello</string></value>", Value::string("hello"));
    accepts("<value>hello</value>", Value::string("hello"));
    accepts("<value><base64>aGVsbG8=</base64></value>", Value::Base64(b"hello".to_vec()));
    accepts("<value><nil/></value>", Value::Nil);
    accepts("<value><ex:nil></ex:nil></value>", Value::Nil);
    accepts(
        "<value><dateTime.iso8601>20110313T07:06:40</dateTime.iso8601></value>",
        Value::DateTime(jiff::civil::date(2011, 3, 13).at(7, 6, 40, 0)),
    );
    accepts(
        "<value><array><data><value><i4>1</i4></value><value>b</value></data></array></value>",
        Value::Array(vec![Value::Int(1), Value::string("b")]),
    );
    accepts(
        "<value><struct><member><name>a</name><value><i4>1</i4></value></member></struct></value>",
        Value::structure(vec![member("a", Value::Int(1))]),
    );
}

#[test]
fn empty_elements_are_empty_values() {
    for text in ["<value/>", "<value></value>", "<value><string/></value>", "<value ><string></string ></value>"] {
        accepts(text, Value::string(""));
    }
    accepts("<value><base64/></value>", Value::Base64(Vec::new()));
    accepts("<value><array/></value>", Value::Array(Vec::new()));
    accepts("<value><array><data/></array></value>", Value::Array(Vec::new()));
    accepts("<value><struct/></value>", Value::structure(Vec::new()));
    accepts("<value><array><data><value/></data></array></value>", Value::Array(vec![Value::string("")]));
}

#[test]
fn white_space_is_kept_in_strings_and_ignored_around_elements() {
    accepts("<value> a\n\tb </value>", Value::string(" a\n\tb "));
    accepts("<value>\n</value>", Value::string("\n"));
    accepts("<value>\n <string> a </string>\n</value>", Value::string(" a "));
    accepts("<value> <int>\n 7 \t</int> </value>", Value::Int(7));
    accepts("<value> <nil> </nil> </value>", Value::Nil);
    accepts(" <value>x</value> ", Value::string("x"));
    accepts(
        "<value>\n<struct>\n<member>\n<name> a </name>\n<value>\n<array>\n<data>\n<value>\n<i4>1</i4>\n</value>\n\
         </data>\n</array>\n</value>\n</member>\n</struct>\n</value>\n",
        Value::structure(vec![member(" a ", Value::Array(vec![Value::Int(1)]))]),
    );
}

#[test]
fn text_may_be_escaped_in_every_way() {
    accepts("<value>&lt;&gt;&amp;&quot;&apos;</value>", Value::string("<>&\"'"));
    accepts("<value>a&amp;b</value>", Value::string("a&b"));
    accepts("<value>&#228;&#xE4;&#x00e4;&#128512;</value>", Value::string("äää😀"));
    accepts("<value><![CDATA[<b>&amp;</b>]]></value>", Value::string("<b>&amp;</b>"));
    accepts("<value>a<![CDATA[]]><![CDATA[b]]]]><![CDATA[>c]]>d</value>", Value::string("ab]]>cd"));
    accepts("<value>a]]>b</value>", Value::string("a]]>b"));
    accepts("<value><int>1&#50;<![CDATA[3]]></int></value>", Value::Int(123));
    accepts("<value><struct><member><name>a&amp;<![CDATA[b]]></name><value/></member></struct></value>", {
        Value::structure(vec![member("a&b", Value::string(""))])
    });
}

#[test]
fn comments_instructions_and_attributes_mean_nothing() {
    accepts("<value>a<!-- <b> & -->b<?php x > y ?>c</value>", Value::string("abc"));
    accepts("<!----><value><!-- - --><int><!-- x -->1<!-- y -->2</int><?x?></value><?y z?>", Value::Int(12));
    accepts("<value a=\"1\" b = '>' ><string xml:space='preserve'/></value>", Value::string(""));
    let text = "<?xml version='1.0'?><!-- a --><?b?>\n<methodCall xmlns:ex=\"http://ws.apache.org\"><!-- c -->\
                <methodName>m</methodName><!-- d --></methodCall><?e?><!-- f -->\n";
    assert_eq!(call(text), Ok(MethodCall { name: "m".into(), params: Vec::new() }));
}

#[test]
fn line_ends_become_line_feeds_unless_they_are_references() {
    accepts("<value>a\r\nb\rc\nd\r\r\ne</value>", Value::string("a\nb\nc\nd\n\ne"));
    accepts("<value><![CDATA[a\r\nb]]>\r</value>", Value::string("a\nb\n"));
    accepts("<value>a&#13;\nb&#xD;&#10;</value>", Value::string("a\r\nb\r\n"));
}

#[test]
fn strings_borrow_from_the_text_unless_it_has_to_change() {
    let text = call_with("<value><array><data><value>plain</value><value>a&amp;b</value></data></array></value>");
    let call = call(&text).unwrap();
    let [Value::Array(values)] = call.params.as_slice() else { panic!("{call:?}") };
    assert!(matches!(&call.name, Cow::Borrowed("m")));
    assert!(matches!(&values[0], Value::String(Cow::Borrowed("plain"))));
    assert!(matches!(&values[1], Value::String(Cow::Owned(_))));
}

#[test]
fn the_last_of_equal_members_wins_at_the_place_of_the_first() {
    let text = "<value><struct>\
                <member><name>a</name><value><i4>1</i4></value></member>\
                <member><name>b</name><value><i4>2</i4></value></member>\
                <member><name>&#97;</name><value><i4>3</i4></value></member></struct></value>";
    accepts(text, Value::structure(vec![member("a", Value::Int(3)), member("b", Value::Int(2))]));
}

#[test]
fn very_many_members_stay_linear() {
    let names: Vec<String> = (0..100_000).map(|number| format!("n{}", number % 50_000)).collect();
    let members: String = (names.iter().enumerate())
        .map(|(at, name)| format!("<member><name>{name}</name><value><i4>{at}</i4></value></member>"))
        .collect();
    let expected = (0..50_000).map(|at| member(&names[at], Value::Int(at as i64 + 50_000))).collect();
    accepts(&format!("<value><struct>{members}</struct></value>"), Value::Struct(expected));
}

#[test]
fn very_many_pieces_of_text_stay_linear() {
    let text = "a&amp;<!-- -->b<![CDATA[c]]>".repeat(200_000);
    accepts(&format!("<value>{text}</value>"), Value::string("a&bc".repeat(200_000)));
}

#[test]
fn a_call_may_lack_params_and_hold_any_number() {
    for text in ["", "<params/>", "<params></params>", " <params>\n</params> "] {
        let text = format!("<methodCall><methodName>m</methodName>{text}</methodCall>");
        assert_eq!(call(&text).map(|call| call.params), Ok(Vec::new()));
    }
    let text = "<methodCall><methodName>m</methodName><params><param><value>a</value></param>\
                <param><value>b</value></param></params></methodCall>";
    assert_eq!(call(text).map(|call| call.params), Ok(vec![Value::string("a"), Value::string("b")]));
}

#[test]
fn method_names_are_trimmed() {
    let text = "<methodCall><methodName>\n system.list_Methods:/9 </methodName></methodCall>";
    assert_eq!(call(text).unwrap().name, "system.list_Methods:/9");
    let text = "<methodCall><methodName> <![CDATA[a]]>&#98; </methodName></methodCall>";
    assert_eq!(call(text).unwrap().name, "ab");
}
#[test]
fn a_response_holds_one_value() {
    let text = "<?xml version='1.0'?><methodResponse><params><param><value>a</value></param></params></methodResponse>";
    assert_eq!(response(text), Ok(Ok(Value::string("a"))));
    for (text, refused) in [
        ("", "expected <params> or <fault>, found </methodResponse>: line 1, column 16"),
        ("<params></params>", "expected <param>, found </params>: line 1, column 24"),
        ("<param/>", "expected <params> or <fault>, found <param/>: line 1, column 16"),
        (
            "<params><param><value/></param><param><value/></param></params>",
            "expected </params>, found <param>: line 1, column 47",
        ),
    ] {
        assert_eq!(response(&format!("<methodResponse>{text}</methodResponse>")), Err(refused.to_owned()));
    }
}

#[test]
fn a_response_may_be_a_fault() {
    let fault = |members: &str| {
        format!("<methodResponse><fault><value><struct>{members}</struct></value></fault></methodResponse>")
    };
    let code = "<member><name>faultCode</name><value><int>404</int></value></member>";
    let text = "<member><name>faultString</name><value>gone</value></member>";
    let extra = "<member><name>more</name><value/></member>";
    let expected = Fault { code: 404, text: "gone".to_owned() };
    assert_eq!(response(&fault(&format!("{code}{text}"))), Ok(Err(expected.clone())));
    assert_eq!(response(&fault(&format!("{text}{extra}{code}"))), Ok(Err(expected)));
    let refused = "a fault is a struct of faultCode (int) and faultString (string): line 1, column 23";
    assert_eq!(response(&fault(code)), Err(refused.to_owned()));
    assert_eq!(response(&fault(text)), Err(refused.to_owned()));
    let no_struct = "<methodResponse><fault><value>gone</value></fault></methodResponse>";
    assert_eq!(response(no_struct), Err(refused.to_owned()));
}

fn captures() -> Vec<PathBuf> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/captures"));
    let list = |directory: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let directories = list(root).into_iter().filter(|path| path.is_dir());
    let mut files: Vec<PathBuf> = directories.flat_map(|directory| list(&directory)).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".req.xml"));
    files.sort();
    files
}

#[test]
fn the_bodies_of_real_clients_decode() {
    let files = captures();
    assert!(files.len() > 40, "{} captures", files.len());
    for path in files {
        let body = fs::read(&path).unwrap();
        let text = decode_text(&body, None).unwrap();
        let decoded = call(&text);
        match path.to_string_lossy().ends_with("gen-curl-badxml.req.xml") {
            true => assert_eq!(decoded, Err("unclosed token: line 1, column 12".to_owned())),
            false => assert!(decoded.is_ok(), "{}: {decoded:?}", path.display()),
        }
    }
}

#[test]
fn equal_neighbours_in_a_list_share_what_they_hold() {
    let one = "<value><struct><member><name>a</name><value>x</value></member></struct></value>";
    let other = one.replace('x', "y");
    let text = call_with(&format!("<value><array><data>{one}{one}\n {one}{other}{one}</data></array></value>"));
    let Value::Array(list) = call(&text).unwrap().params.remove(0) else { panic!("a list") };
    let members = |at: usize| match &list[at] {
        Value::Struct(members) => members,
        other => panic!("{other:?}"),
    };
    assert!([1, 2].iter().all(|at| members(*at).as_ptr() == members(0).as_ptr()));
    assert!([3, 4].iter().all(|at| members(*at).as_ptr() != members(0).as_ptr()));
    let structure = |text: &'static str| Value::structure(vec![member("a", Value::string(text))]);
    assert_eq!(list, [structure("x"), structure("x"), structure("x"), structure("y"), structure("x")]);
}
