//! The answers of pyapns, literally as its captures have them, and every type.

use super::*;

/// The lines of a response around its value.
fn response(value: &str) -> String {
    format!(
        "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n{value}</param>\n</params>\n</methodResponse>\n"
    )
}

#[track_caller]
fn encodes(value: Value<'_>, expected: &str) {
    assert_eq!(encode_response(&value), response(expected));
}

#[test]
fn success_of_provision_and_notify_is_the_answer_of_pyapns() {
    assert_eq!(
        encode_response(&Value::Nil),
        "<?xml version='1.0'?>\n\
         <methodResponse>\n\
         <params>\n\
         <param>\n\
         <value><nil/></value></param>\n\
         </params>\n\
         </methodResponse>\n"
    );
}

#[test]
fn feedback_is_the_answer_of_pyapns() {
    let entry = |second, token: &'static str| {
        Value::Array(vec![Value::DateTime(jiff::civil::date(2011, 3, 13).at(7, 6, second, 0)), Value::string(token)])
    };
    let value = Value::Array(vec![
        entry(40, "00000000abababababababababababababababababababababababababababab"),
        entry(41, "00000001abababababababababababababababababababababababababababab"),
        entry(42, "00000002abababababababababababababababababababababababababababab"),
    ]);
    assert_eq!(
        encode_response(&value),
        "<?xml version='1.0'?>\n\
         <methodResponse>\n\
         <params>\n\
         <param>\n\
         <value><array><data>\n\
         <value><array><data>\n\
         <value><dateTime.iso8601>20110313T07:06:40</dateTime.iso8601></value>\n\
         <value><string>00000000abababababababababababababababababababababababababababab</string></value>\n\
         </data></array></value>\n\
         <value><array><data>\n\
         <value><dateTime.iso8601>20110313T07:06:41</dateTime.iso8601></value>\n\
         <value><string>00000001abababababababababababababababababababababababababababab</string></value>\n\
         </data></array></value>\n\
         <value><array><data>\n\
         <value><dateTime.iso8601>20110313T07:06:42</dateTime.iso8601></value>\n\
         <value><string>00000002abababababababababababababababababababababababababababab</string></value>\n\
         </data></array></value>\n\
         </data></array></value>\n\
         </param>\n\
         </params>\n\
         </methodResponse>\n"
    );
}

#[test]
fn empty_feedback_is_the_answer_of_pyapns() {
    encodes(Value::Array(Vec::new()), "<value><array><data>\n</data></array></value>\n");
}

#[test]
fn a_fault_is_the_answer_of_pyapns() {
    let fault = Fault { code: 404, text: "The app_id specified has not been provisioned.".to_owned() };
    assert_eq!(
        encode_fault(&fault),
        "<?xml version='1.0'?>\n\
         <methodResponse>\n\
         <fault>\n\
         <value><struct>\n\
         <member>\n\
         <name>faultCode</name>\n\
         <value><int>404</int></value>\n\
         </member>\n\
         <member>\n\
         <name>faultString</name>\n\
         <value><string>The app_id specified has not been provisioned.</string></value>\n\
         </member>\n\
         </struct></value>\n\
         </fault>\n\
         </methodResponse>\n"
    );
}

#[test]
fn a_call_is_that_of_pythons_client() {
    let settings = Value::structure(vec![("TIMEOUT".into(), Value::Int(15))]);
    assert_eq!(
        encode_call("configure", &[Value::string("a"), settings]),
        "<?xml version='1.0'?>\n\
         <methodCall>\n\
         <methodName>configure</methodName>\n\
         <params>\n\
         <param>\n\
         <value><string>a</string></value>\n\
         </param>\n\
         <param>\n\
         <value><struct>\n\
         <member>\n\
         <name>TIMEOUT</name>\n\
         <value><int>15</int></value>\n\
         </member>\n\
         </struct></value>\n\
         </param>\n\
         </params>\n\
         </methodCall>\n"
    );
}

#[test]
fn integers_beyond_32_bits_are_i8() {
    encodes(Value::Int(2_147_483_647), "<value><int>2147483647</int></value>\n");
    encodes(Value::Int(2_147_483_648), "<value><i8>2147483648</i8></value>\n");
    encodes(Value::Int(i64::MIN), "<value><i8>-9223372036854775808</i8></value>\n");
}

#[test]
fn doubles_have_a_point_and_no_exponent() {
    for (number, text) in [
        (1.5, "1.5"),
        (-1.0, "-1.0"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1e20, "100000000000000000000.0"),
        (1e-7, "0.0000001"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
        (-f64::NAN, "nan"),
    ] {
        encodes(Value::Double(number), &format!("<value><double>{text}</double></value>\n"));
    }
}

#[test]
fn the_other_scalars_are_written_plainly() {
    encodes(Value::Boolean(true), "<value><boolean>1</boolean></value>\n");
    encodes(Value::Boolean(false), "<value><boolean>0</boolean></value>\n");
    encodes(Value::Base64(b"hello".to_vec()), "<value><base64>aGVsbG8=</base64></value>\n");
    let time = jiff::civil::date(800, 1, 2).at(3, 4, 5, 999_999_999);
    encodes(Value::DateTime(time), "<value><dateTime.iso8601>08000102T03:04:05</dateTime.iso8601></value>\n");
}

#[test]
fn text_is_escaped_and_stays_legal() {
    encodes(
        Value::string("<b a=\"'\">&amp;ä😀\t\n\r\0\x1f\u{fffe}\u{ffff}\u{7f}"),
        "<value><string>&lt;b a=\"'\"&gt;&amp;amp;ä😀\t\n&#13;\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{7f}</string></value>\n",
    );
    encodes(
        Value::structure(vec![("<&>".into(), Value::Nil)]),
        "<value><struct>\n<member>\n<name>&lt;&amp;&gt;</name>\n<value><nil/></value></member>\n</struct></value>\n",
    );
}
