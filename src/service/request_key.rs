//! `request_id`: what names a call in the store, so that a repeated one has no second effect.

use std::borrow::Cow;

use aws_lc_rs::digest::{Context, SHA256};

use super::request::{Notify, NotifyOptions, PerRow};
use crate::store::RequestKey;

/// First half of the SHA-256 over what a call says.
type Digest = [u8; 16];

/// The key of a call that its caller named: equal calls have equal content.
pub(super) fn request_key(id: &str, request: &Notify<'_>) -> RequestKey {
    RequestKey { id: digest([id.as_bytes()]), content: digest_of(request) }
}

/// The same for the same call in every version of the program: a key outlives the process.
fn digest_of(request: &Notify<'_>) -> Digest {
    let NotifyOptions { expiration, priority, collapse_id, push_type, topic, request_id: _ } = &request.options;
    let mut parts: Vec<Cow<'_, [u8]>> = Vec::with_capacity(request.tokens.len() + request.payloads.len() + 16);
    parts.extend(request.tokens.iter().map(|token| token.as_bytes().into()));
    parts.push(b"payloads"[..].into());
    parts.extend(request.payloads.iter().map(|payload| (&payload[..]).into()));
    parts.push(request.payload_of.iter().flat_map(|index| index.to_be_bytes()).collect::<Vec<u8>>().into());
    put(&mut parts, "expiration", expiration);
    put(&mut parts, "priority", priority);
    put(&mut parts, "collapse_id", collapse_id);
    put(&mut parts, "push_type", push_type);
    put(&mut parts, "topic", topic);
    digest(parts.iter().map(|part| &**part))
}

fn put<T: ToString>(parts: &mut Vec<Cow<'_, [u8]>>, name: &'static str, option: &PerRow<T>) {
    let text = |value: &T| value.to_string().into_bytes().into();
    parts.push(name.as_bytes().into());
    match option {
        PerRow::Absent => (),
        PerRow::All(value) => parts.extend([b"all"[..].into(), text(value)]),
        PerRow::Each(values) => {
            parts.push(b"each"[..].into());
            parts.extend(values.iter().map(text));
        }
    }
}

/// Each part goes in behind its length, so that no two lists of parts read alike.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut half = Digest::default();
    half.copy_from_slice(&context.finish().as_ref()[..size_of::<Digest>()]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(payload: &str) -> Notify<'static> {
        Notify {
            tokens: vec!["ab"],
            payloads: vec![payload.as_bytes().into()],
            payload_of: vec![],
            options: NotifyOptions::default(),
        }
    }

    #[test]
    fn the_key_of_a_call_is_the_same_in_every_version() {
        let mut request = request("{}");
        request.options.expiration = PerRow::All(7);
        let key = request_key("id", &request);
        let hex = |digest: Digest| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            (hex(key.id).as_str(), hex(key.content).as_str()),
            ("610e9e838458eb19144957ab636abd10", "f916d6c88ed642ebd8dbd4769ac4eebf")
        );
    }

    #[test]
    fn a_key_depends_on_the_id_and_on_everything_that_the_call_says() {
        let key = request_key("id", &request("{}"));
        assert_eq!(request_key("id", &request("{}")), key);
        assert_ne!(request_key("other", &request("{}")).id, key.id);
        assert_eq!(request_key("other", &request("{}")).content, key.content);
        let mut others = [request("{\"a\":1}"), request("{}"), request("{}"), request("{}")];
        others[1].tokens = vec!["a", "b"];
        others[2].options.priority = PerRow::All(5);
        others[3].options.priority = PerRow::Each(vec![5]);
        for other in others {
            let other = request_key("id", &other);
            assert_eq!(other.id, key.id);
            assert_ne!(other.content, key.content);
        }
    }
}
