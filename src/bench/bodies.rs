//! The calls of the measurement, rendered once: what pyapns' clients send, with payloads of 85 bytes, which make frames
//! of 146 bytes on the binary gateway.

use crate::xmlrpc::encode::encode_call;
use crate::xmlrpc::value::Value;

/// Bytes of a payload as JSON.
pub const PAYLOAD: usize = 85;
/// Bytes of a frame of the binary gateway with such a payload: command 2 with all five items.
pub const FRAME: usize = PAYLOAD + 61;
/// Characters of the alert that make it so many.
const ALERT: usize = 37;

/// How a call names its notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One notification for each token, all equal.
    Equal,
    /// One for each, no two alike.
    Distinct,
    /// One for all tokens.
    Broadcast,
}

impl Shape {
    pub const ALL: [Self; 3] = [Self::Equal, Self::Broadcast, Self::Distinct];

    /// Its part of a figure's key.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Distinct => "distinct",
            Self::Broadcast => "broadcast",
        }
    }
}

/// A `notify` call for one token.
pub fn single(app: &str) -> String {
    encode_call("notify", &[Value::string(app), token(0), notification(0)])
}

/// A `notify` call for so many tokens.
pub fn many(app: &str, tokens: usize, shape: Shape) -> String {
    let all = (0..tokens).map(token).collect();
    let notifications = match shape {
        Shape::Equal => Value::Array((0..tokens).map(|_| notification(0)).collect()),
        Shape::Distinct => Value::Array((0..tokens).map(notification).collect()),
        Shape::Broadcast => notification(0),
    };
    encode_call("notify", &[Value::string(app), Value::Array(all), notifications])
}

/// A token that no gateway of the simulator treats in a special way.
pub fn token_bytes(number: usize) -> [u8; 32] {
    let mut token = [0x5e; 32];
    token[24..].copy_from_slice(&(number as u64).to_be_bytes());
    token
}

/// The payload of a notification, as the daemon renders it.
pub fn payload(number: usize) -> String {
    format!("{{\"aps\":{{\"alert\":\"{}\",\"badge\":1,\"sound\":\"default\"}}}}", alert(number))
}

fn token(number: usize) -> Value<'static> {
    Value::string(token_bytes(number).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn notification(number: usize) -> Value<'static> {
    let aps = vec![
        ("alert".into(), Value::string(alert(number))),
        ("badge".into(), Value::Int(1)),
        ("sound".into(), Value::string("default")),
    ];
    Value::structure(vec![("aps".into(), Value::structure(aps))])
}

fn alert(number: usize) -> String {
    format!("{:.<ALERT$}", format!("Message {number} of this morning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_the_length_that_was_said() {
        for number in [0, 7, 99_999] {
            assert_eq!(payload(number).len(), PAYLOAD);
        }
    }

    #[test]
    fn the_shapes_differ_in_what_they_repeat() {
        let count = |text: &str, what: &str| text.matches(what).count();
        let calls = Shape::ALL.map(|shape| many("app", 10, shape));
        assert_eq!(calls.each_ref().map(|call| count(call, "<name>aps</name>")), [10, 1, 10]);
        assert_eq!(calls.each_ref().map(|call| count(call, "Message 0 of this morning")), [10, 1, 1]);
        assert_eq!(calls.each_ref().map(|call| count(call, "5e5e5e5e")), [60, 60, 60]);
    }
}
