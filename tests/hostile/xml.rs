//! Bodies that decoders have stumbled over.

use crate::site::{Site, call, post};

/// A call with one argument.
fn with(value: impl AsRef<[u8]>) -> Vec<u8> {
    let (head, tail) = (
        "<methodCall><methodName>apnsd.status</methodName><params><param><value>",
        "</value></param></params></methodCall>",
    );
    post("", [head.as_bytes(), value.as_ref(), tail.as_bytes()].concat())
}

/// A call whose argument was understood.
const UNDERSTOOD: &str = "fault 404: The app_id specified has not been provisioned.";

#[tokio::test(flavor = "multi_thread")]
async fn doctypes_and_entities_are_refused_but_for_the_five_and_numbers() {
    let site = Site::start("").await;
    let declared = "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>";
    let external = "<!DOCTYPE x SYSTEM \"file:///etc/passwd\">";
    let doctype = "fault 8002: Can't deserialize input: a DOCTYPE is not accepted: remove it: line 1, column";
    site.tells(&[
        ("entities of entities", post("", declared.to_owned() + &call("&b;")), doctype),
        ("an external subset", post("", external.to_owned() + &call("x")), doctype),
        (
            "an entity of HTML",
            with("&nbsp;"),
            "fault 8002: Can't deserialize input: undefined entity &amp;nbsp;: use lt, gt, amp, quot, apos or a character",
        ),
        ("the five, and numbers", with("&lt;&gt;&amp;&apos;&quot;&#65;&#x41;"), UNDERSTOOD),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_that_xml_does_not_have_are_refused_by_name() {
    let site = Site::start("").await;
    let refused = |point: &str| format!("fault 8002: Can't deserialize input: character {point} is not allowed in XML");
    let (nul, one, eight) = (refused("U+0000"), refused("U+0001"), refused("U+0008"));
    let (surrogate, none) = (refused("U+D800"), refused("U+FFFE"));
    site.tells(&[
        ("a NUL by number", with("&#0;"), &nul),
        ("a NUL", with("a\0"), &nul),
        ("a control character", with("a\x01"), &one),
        ("a control character by number", with("&#8;"), &eight),
        ("half a surrogate pair", with("&#xD800;"), &surrogate),
        ("no character at all", with("\u{fffe}"), &none),
        (
            "bytes that are no UTF-8",
            with(b"\xff"),
            "fault 8002: Can't deserialize input: not valid UTF-8: byte offset 71",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_what_they_are_called_and_no_larger() {
    let site = Site::start("").await;
    let member = "<member><name>a</name><value>1</value></member>";
    site.tells(&[
        (
            "2^31",
            with("<int>2147483648</int>"),
            "fault 8002: Can't deserialize input: `2147483648` is out of range for an integer of 32 bits",
        ),
        (
            "100,000 digits",
            with(format!("<int>{}</int>", "9".repeat(100_000))),
            "fault 8002: Can't deserialize input: `9999999999999999999999999999999999999999…` is out of range",
        ),
        (
            "2^63",
            with("<i8>9223372036854775808</i8>"),
            "fault 8002: Can't deserialize input: `9223372036854775808` is out of range for an integer of 64 bits",
        ),
        ("no number", with("<double>nan</double>"), "fault 8002: app_id: a string or an int is needed, not double"),
        (
            "neither true nor false",
            with("<boolean>2</boolean>"),
            "fault 8002: Can't deserialize input: `2` is not a boolean: write 0 or 1",
        ),
        (
            "a day that was not",
            with("<dateTime.iso8601>20200230T25:00:00</dateTime.iso8601>"),
            "fault 8002: Can't deserialize input: `20200230T25:00:00` is not a dateTime.iso8601",
        ),
        ("no base64", with("<base64>!!</base64>"), "fault 8002: Can't deserialize input: not base64"),
        (
            "a member twice",
            with(format!("<struct>{member}{member}</struct>")),
            "fault 8002: app_id: a string or an int is needed, not struct",
        ),
        (
            "the value before the name",
            with("<struct><member><value>1</value><name>a</name></member></struct>"),
            "fault 8002: Can't deserialize input: expected &lt;name&gt;, found &lt;value&gt;",
        ),
        (
            "two types in one value",
            with("<int>1</int><int>2</int>"),
            "fault 8002: Can't deserialize input: a value holds one type element, found &lt;int&gt; as well",
        ),
        (
            "text before an element",
            with("x<int>1</int>"),
            "fault 8002: Can't deserialize input: text beside an element",
        ),
        (
            "text behind an element",
            with("<int>1</int>x"),
            "fault 8002: Can't deserialize input: text beside an element",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_ends_at_64_and_width_with_the_body() {
    let site = Site::start("").await;
    let deep =
        |levels: usize| with("<array><data><value>".repeat(levels) + "x" + &"</value></data></array>".repeat(levels));
    let too_deep = "fault 8002: Can't deserialize input: arrays and structs are nested more than 64 deep";
    let params = "<param><value>x</value></param>".repeat(20_000);
    let wide = format!("<methodCall><methodName>apnsd.status</methodName><params>{params}</params></methodCall>");
    let attributes = format!("<methodCall {}><methodName>x</methodName></methodCall>", "a='1' ".repeat(100_000));
    let text = with("x".repeat(900_000));
    site.tells(&[
        ("64 levels", deep(64), "fault 8002: app_id: a string or an int is needed, not array"),
        ("65 levels", deep(65), too_deep),
        ("20,000 levels", deep(20_000), too_deep),
        ("30,000 levels that do not end", with("<array><data><value>".repeat(30_000)), too_deep),
        ("20,000 parameters", post("", wide), "fault 8002: apnsd.status takes 0 or 1 arguments, 20000 given"),
        ("a long text", text, UNDERSTOOD),
        ("50,000 CDATA sections", with("<![CDATA[x]]>".repeat(50_000)), UNDERSTOOD),
        ("80,000 comments", with("<!-- x -->".repeat(80_000)), UNDERSTOOD),
        ("100,000 attributes", post("", attributes), "fault 8001: procedure x not found"),
    ])
    .await;
}
