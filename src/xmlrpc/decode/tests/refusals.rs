//! Every refusal, with its words and its place.

use super::{accepts, call, call_with, refuses, refuses_call};
use crate::xmlrpc::decode::{Limits, decode_call};
use crate::xmlrpc::error::ErrorKind;
use crate::xmlrpc::value::Value;

#[test]
fn method_names_have_few_characters() {
    for name in ["", " ", "a b", "a-b", "ä", "a&lt;"] {
        let text = format!("<methodCall>\n<methodName>{name}</methodName></methodCall>");
        let shown = name.trim().replace("&lt;", "<");
        let refused = call(&text).unwrap_err();
        assert!(
            refused.starts_with(&format!("`{shown}` is not a method name: use A-Z a-z 0-9 _ . : /: line 2, column 1"))
        );
    }
}

#[test]
fn documents_that_end_early_are_refused_at_their_end() {
    refuses_call("", "no element found: line 1, column 0");
    refuses_call(" \n ", "no element found: line 2, column 1");
    refuses_call("<?xml version='1.0'?>\n", "no element found: line 2, column 0");
    refuses_call("<methodCall>", "no element found: line 1, column 12");
    refuses_call("<methodCall><methodName>m", "no element found: line 1, column 25");
}

#[test]
fn tokens_that_do_not_end_are_refused_where_they_begin() {
    refuses_call("<methodCall><oops", "unclosed token: line 1, column 12");
    refuses_call("<methodCall>\n<!-- ", "unclosed token: line 2, column 0");
    refuses_call("<methodCall>\n <![CDATA[ ]] >", "unclosed token: line 2, column 1");
    refuses_call("<methodCall><?x >", "unclosed token: line 1, column 12");
    refuses_call("<methodCall><methodName a='>", "unclosed token: line 1, column 12");
    refuses_call("<", "unclosed token: line 1, column 0");
}

#[test]
fn every_prefix_of_a_call_is_refused() {
    let text = call_with("<value><array><data><value>a&amp;<![CDATA[b]]></value></data></array></value>");
    for end in 0..text.len() {
        assert!(call(&text[..end]).is_err(), "{}", &text[..end]);
    }
    assert!(call(&text).is_ok());
}

#[test]
fn a_doctype_is_refused_whatever_it_holds() {
    for doctype in ["<!DOCTYPE", "<!doctype a>", "<!DOCTYPE a [<!ENTITY b \"c\">]>", "<!Doctype a SYSTEM 'b'>"] {
        let text = format!("<?xml version='1.0'?>\n {doctype}<methodCall/>");
        refuses_call(&text, "a DOCTYPE is not accepted: remove it: line 2, column 1");
    }
    refuses("<value>a<!DOCTYPE a></value>", "a DOCTYPE is not accepted: remove it: line 2, column 8");
}

#[test]
fn entities_beyond_the_five_are_refused() {
    let refused = |name: &str| {
        format!("undefined entity &{name};: use lt, gt, amp, quot, apos or a character reference: line 2, column 8")
    };
    refuses("<value>a&nbsp;</value>", &refused("nbsp"));
    refuses("<value>a&LT;</value>", &refused("LT"));
    refuses("<value>a&;</value>", &refused(""));
    let long = "x".repeat(10_000);
    refuses(&format!("<value>a&{long};</value>"), &refused(&format!("{}…", "x".repeat(40))));
}

#[test]
fn lone_ampersands_are_refused() {
    let refused = "not well-formed: `&` that begins no reference: write &amp;: line 2, column 8";
    for text in ["<value>a&</value>", "<value>a& b</value>", "<value>a&b&amp;</value>", "<value>a&amp</value>"] {
        refuses(text, refused);
    }
}

#[test]
fn illegal_characters_are_refused_raw_and_by_reference() {
    for (code, raw) in [
        (0, "\0"),
        (1, "\x01"),
        (0xb, "\x0b"),
        (0xc, "\x0c"),
        (0x1f, "\x1f"),
        (0xfffe, "\u{fffe}"),
        (0xffff, "\u{ffff}"),
    ] {
        let refused = format!("character U+{code:04X} is not allowed in XML: line 2, column 8");
        refuses(&format!("<value>a{raw}</value>"), &refused);
        refuses(&format!("<value>a&#{code};</value>"), &refused);
        refuses(&format!("<value>a&#x{code:x};</value>"), &refused);
        refuses(&format!("<value>ä{raw}\0</value>"), &refused);
    }
    refuses("<value>a&#xD800;</value>", "character U+D800 is not allowed in XML: line 2, column 8");
    refuses("<value>a&#1114112;</value>", "character U+110000 is not allowed in XML: line 2, column 8");
    refuses("<value>&#99999999999;</value>", "character U+FFFFFFFF is not allowed in XML: line 2, column 7");
    refuses("<value a='\x02'/>", "character U+0002 is not allowed in XML: line 2, column 10");
    accepts("<value>\t\u{7f}\u{80}\u{fffd}\u{10ffff}</value>", Value::string("\t\u{7f}\u{80}\u{fffd}\u{10ffff}"));
}

#[test]
fn an_illegal_character_is_found_wherever_it_is() {
    for length in [0, 1, 255, 256, 257, 511, 512, 1000] {
        let text = format!("{}\x01", " ".repeat(length));
        refuses_call(&text, &format!("character U+0001 is not allowed in XML: line 1, column {length}"));
    }
}

#[test]
fn character_references_are_numbers() {
    for text in ["&#;", "&#x;", "&#X41;", "&#+65;", "&#6 5;", "&#xG;", "&#-1;"] {
        refuses(
            &format!("<value>{text}</value>"),
            "not well-formed: character reference without a number: line 2, column 7",
        );
    }
}

#[test]
fn tags_have_to_match() {
    refuses("<value><int>1</i4></value>", "mismatched tag: <int> is closed by </i4>: line 2, column 13");
    refuses("<value><int>1</value>", "mismatched tag: <int> is closed by </value>: line 2, column 13");
    refuses("<value></value x='1'>", "mismatched tag: <value> is closed by </value x='1'>: line 2, column 7");
    refuses_call("</methodCall>", "not well-formed: end tag without a start tag: line 1, column 0");
}

#[test]
fn markup_has_to_be_well_formed() {
    let refused = |what: &str| format!("not well-formed: {what}: line 2, column 7");
    refuses("<value><!x></value>", &refused("unknown markup after `<!`"));
    refuses("<value><!-- a -- b --></value>", &refused("`--` in a comment"));
    refuses("<value><!-- a ---></value>", &refused("`--` in a comment"));
    refuses("<value><?xml version='1.0'?></value>", &refused("XML declaration not at the start"));
    refuses("<value><? x?></value>", &refused("processing instruction without a name"));
    for tag in ["<int a>", "<int a=>", "<int a=1>", "<int a='<'>", "<int <b>", "<int 'a'>", "< int>", "<>", "<a<b>"] {
        refuses(&format!("<value>{tag}1</int></value>"), &refused("invalid tag; write &lt; for a `<` in text"));
    }
    refuses_call("<!-- --><?xml version='1.0'?><methodCall/>", {
        "not well-formed: XML declaration not at the start: line 1, column 8"
    });
}

#[test]
fn nothing_stands_before_and_behind_the_root_element() {
    let document = "<methodCall><methodName>m</methodName></methodCall>";
    let outside = |column| format!("not well-formed: text outside of the root element: line 1, column {column}");
    assert!(call(&format!("\r\n <?xml version='1.0'?> {document}\n \t")).is_ok());
    refuses_call("{\"json\": 1}", &outside(0));
    refuses_call(&format!("&#32;{document}"), &outside(0));
    refuses_call(&format!("<![CDATA[]]>{document}"), &outside(0));
    refuses_call(&format!("{document} x"), &outside(52));
    refuses_call(&format!("{document}{document}"), "junk after document element: line 1, column 51");
    refuses_call(&format!("{document}</a>"), "not well-formed: end tag without a start tag: line 1, column 51");
}

#[test]
fn elements_stand_in_their_order() {
    refuses_call("<a/>", "expected <methodCall>, found <a/>: line 1, column 0");
    refuses_call("<methodResponse>", "expected <methodCall>, found <methodResponse>: line 1, column 0");
    refuses_call("<methodCall/>", "expected <methodName>, found <methodCall/>: line 1, column 0");
    refuses_call("<methodCall></methodCall>", "expected <methodName>, found </methodCall>: line 1, column 12");
    refuses_call("<methodCall><params/>", "expected <methodName>, found <params/>: line 1, column 12");
    let with = |rest: &str| format!("<methodCall><methodName>m</methodName>\n{rest}</methodCall>");
    refuses_call(&with("<params/><params/>"), "expected </methodCall>, found <params/>: line 2, column 9");
    refuses_call(&with("<methodName>m</methodName>"), "expected <params>, found <methodName>: line 2, column 0");
    refuses_call(&with("<param/>"), "expected <params>, found <param/>: line 2, column 0");
    refuses_call(&with("<params><value/></params>"), "expected <param>, found <value/>: line 2, column 8");
    refuses_call(&with("<params><param></param></params>"), "expected <value>, found </param>: line 2, column 15");
    refuses("<value/><value/>", "expected </param>, found <value/>: line 2, column 8");
    refuses("<int>1</int>", "expected <value>, found <int>: line 2, column 0");
    refuses("<value><string>a<b/></string></value>", "expected text, found <b/>: line 2, column 16");
    refuses("<value><array><value/></array></value>", "expected <data>, found <value/>: line 2, column 14");
    refuses("<value><array><data/><data/></array></value>", "expected </array>, found <data/>: line 2, column 21");
    refuses("<value><array><data><int/></data></array></value>", "expected <value>, found <int/>: line 2, column 20");
    refuses("<value><nil><a/></nil></value>", "expected </nil>, found <a/>: line 2, column 12");
}

#[test]
fn members_are_a_name_and_a_value() {
    let refuses = |member: &str, expected: &str| {
        refuses(&format!("<value><struct>\n{member}</struct></value>"), expected);
    };
    refuses("<name>a</name>", "expected <member>, found <name>: line 3, column 0");
    refuses("<member/>", "expected <name>, found <member/>: line 3, column 0");
    refuses("<member><value/><name>a</name></member>", "expected <name>, found <value/>: line 3, column 8");
    refuses("<member><name>a</name></member>", "expected <value>, found </member>: line 3, column 22");
    refuses("<member><name>a</name><value/><value/></member>", "expected </member>, found <value/>: line 3, column 30");
    refuses("<member><name>a</name>b<value/></member>", "text beside an element: line 3, column 22");
}

#[test]
fn values_hold_one_known_type() {
    refuses("<value><foo>1</foo></value>", "unknown type <foo>: line 2, column 7");
    refuses("<value><INT>1</INT></value>", "unknown type <INT>: line 2, column 7");
    refuses("<value><value/></value>", "unknown type <value/>: line 2, column 7");
    refuses("<value><int>1</int> <int>2</int></value>", {
        "a value holds one type element, found <int> as well: line 2, column 20"
    });
    refuses("<value>a<int>1</int></value>", "text beside an element: line 2, column 7");
    refuses("<value>\n <int>1</int>\n a</value>", "text beside an element: line 4, column 1");
    refuses("<value><array>a</array></value>", "text beside an element: line 2, column 14");
    refuses("<value><nil>a</nil></value>", "text beside an element: line 2, column 12");
    let long = "x".repeat(10_000);
    refuses(&format!("<value><{long}/></value>"), &format!("unknown type <{}…: line 2, column 7", "x".repeat(39)));
}

#[test]
fn scalars_have_to_be_what_they_are_called() {
    refuses("<value><int></int></value>", "`` is not an integer: line 2, column 12");
    refuses("<value><int> x1 </int></value>", "`x1` is not an integer: line 2, column 13");
    refuses("<value><i4>1.0</i4></value>", "`1.0` is not an integer: line 2, column 11");
    refuses("<value><int>2147483648</int></value>", {
        "`2147483648` is out of range for an integer of 32 bits: line 2, column 12"
    });
    refuses("<value><i8>-9223372036854775809</i8></value>", {
        "`-9223372036854775809` is out of range for an integer of 64 bits: line 2, column 11"
    });
    let shown = format!("{}…", "9".repeat(40));
    refuses(
        &format!("<value><i8>{}</i8></value>", "9".repeat(1_000_000)),
        &format!("`{shown}` is out of range for an integer of 64 bits: line 2, column 11"),
    );
    refuses("<value><boolean>true</boolean></value>", "`true` is not a boolean: write 0 or 1: line 2, column 16");
    refuses("<value><double>1e999</double></value>", "`1e999` is not a double: line 2, column 15");
    refuses("<value><base64>a*</base64></value>", "not base64: line 2, column 15");
    refuses("<value><dateTime.iso8601>today</dateTime.iso8601></value>", {
        "`today` is not a dateTime.iso8601 such as 19980717T14:08:55: line 2, column 25"
    });
}

fn nested_arrays(levels: usize) -> String {
    call_with(&format!("{}{}", "<value><array><data>".repeat(levels), "</data></array></value>".repeat(levels)))
}

#[test]
fn nesting_ends_at_the_limit() {
    assert!(call(&nested_arrays(64)).is_ok());
    let refused = "arrays and structs are nested more than 64 deep: line 2, column 1287";
    refuses_call(&nested_arrays(65), refused);
    refuses_call(&call_with(&"<value><array><data>".repeat(1_000_000)), refused);
    refuses_call(&call_with(&"<value><struct><member><name>a</name>".repeat(1_000_000)), {
        "arrays and structs are nested more than 64 deep: line 2, column 2375"
    });
    assert!(decode_call(&nested_arrays(3), &Limits { depth: 3 }).is_ok());
    assert!(decode_call(&nested_arrays(4), &Limits { depth: 3 }).is_err());
    assert!(decode_call(&call_with("<value><array/></value>"), &Limits { depth: 0 }).is_err());
}

#[test]
fn the_stack_holds_even_when_the_limit_is_absurd() {
    let limits = Limits { depth: usize::MAX };
    assert!(decode_call(&nested_arrays(Limits::DEPTH_MAX), &limits).is_ok());
    let refused = decode_call(&nested_arrays(Limits::DEPTH_MAX + 1), &limits).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::TooDeep(256));
}

#[test]
fn siblings_are_not_nested() {
    let text = format!("<value><array><data>{}</data></array></value>", "<value><struct/></value>".repeat(100));
    accepts(&text, Value::Array(vec![Value::structure(Vec::new()); 100]));
}
