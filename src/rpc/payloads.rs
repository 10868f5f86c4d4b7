//! The distinct payloads of a call: equal notifications are encoded once and kept once.

use std::collections::HashMap;
use std::sync::Arc;

use super::json::{JsonError, push_notification};
use crate::xmlrpc::value::Value;

/// Payloads, and which of them each notification became.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Payloads {
    /// Compact JSON objects, each once.
    pub(super) distinct: Vec<Arc<[u8]>>,
    /// For each notification, in order, the index of its payload.
    pub(super) of: Vec<u32>,
}

impl Payloads {
    /// Encodes notifications, and says which of them cannot be.
    pub(super) fn encode(notifications: &[Value<'_>]) -> Result<Self, (usize, JsonError)> {
        let mut payloads = Self { distinct: Vec::new(), of: Vec::with_capacity(notifications.len()) };
        let mut known: HashMap<Arc<[u8]>, u32> = HashMap::new();
        let mut buffer = Vec::new();
        let mut previous = None;
        for (row, notification) in notifications.iter().enumerate() {
            if previous == Some(notification) {
                payloads.of.extend(payloads.of.last().copied());
                continue;
            }
            previous = Some(notification);
            buffer.clear();
            push_notification(&mut buffer, notification).map_err(|error| (row, error))?;
            let index = match known.get(buffer.as_slice()) {
                Some(index) => *index,
                None => {
                    // One payload takes at least 8 bytes of a body, which is far shorter than 32 GiB.
                    let index = u32::try_from(payloads.distinct.len()).unwrap_or(u32::MAX);
                    let payload: Arc<[u8]> = buffer.as_slice().into();
                    payloads.distinct.push(payload.clone());
                    known.insert(payload, index);
                    index
                }
            };
            payloads.of.push(index);
        }
        Ok(payloads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn badge(number: i64) -> Value<'static> {
        Value::structure(vec![("badge".into(), Value::Int(number))])
    }

    #[test]
    fn equal_notifications_share_a_payload_wherever_they_stand() {
        let text = Value::string("{ \"badge\" : 1 }");
        let payloads = Payloads::encode(&[badge(1), badge(1), badge(2), badge(1), text, badge(2)]).unwrap();
        let distinct: Vec<&[u8]> = payloads.distinct.iter().map(|payload| &**payload).collect();
        assert_eq!(distinct, [b"{\"badge\":1}", b"{\"badge\":2}"]);
        assert_eq!(payloads.of, [0, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn the_one_that_cannot_be_encoded_is_named() {
        let (row, error) = Payloads::encode(&[badge(1), badge(1), Value::Nil]).unwrap_err();
        assert_eq!(row, 2);
        assert_eq!(error.to_string(), "a struct, or a string that holds a JSON object, is needed, not nil");
    }
}
