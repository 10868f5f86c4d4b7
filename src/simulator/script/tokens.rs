//! Device tokens that make a gateway do something: its table of known and unknown devices. For people it stands in
//! `docs/simulator.md`, section "Device tokens", and a test holds both equal.

use super::fault::Ending;
use crate::domain::apns::ApnsReason;

/// What the binary gateway does with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum TokenRule {
    Accept,
    Reject(u8),
    Shutdown,
    Reset,
    Close,
    Lose,
    Unregistered,
}

impl TokenRule {
    /// The rule for a token; see the table above.
    pub(in crate::simulator) fn of(token: &[u8]) -> Self {
        let [first, second, rest @ ..] = token else { return Self::Accept };
        if !is_made_up(token) {
            return Self::Accept;
        }
        match (first, second) {
            (0xde, 0xad) => Self::Unregistered,
            (0xba, 0xd0) => Self::of_bad(0),
            (0xba, second @ 0xd1..=0xde) => Self::of_bad(second & 0x0f),
            (0xba, 0xdf) if rest.first().is_some_and(|third| third >> 4 == 0xf) => Self::Reject(255),
            _ => Self::Accept,
        }
    }

    fn of_bad(digit: u8) -> Self {
        match digit {
            0 | 8 => Self::Reject(8),
            1..=7 => Self::Reject(digit),
            0xa => Self::Shutdown,
            0xb => Self::Reset,
            0xc => Self::Close,
            0xd => Self::Lose,
            0xe => Self::Reject(128),
            _ => Self::Accept,
        }
    }
}

/// Whether somebody wrote this token: bytes 17 to 20 are equal. Those of devices are random, and one in some thousand of
/// them begins like a rule.
fn is_made_up(token: &[u8]) -> bool {
    token.get(16..20).is_some_and(|bytes| bytes.windows(2).all(|pair| pair[0] == pair[1]))
}

/// What the HTTP/2 provider API does with a token, once the request is good otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum DeviceRule {
    Accept,
    Reject(ApnsReason),
    /// Accepted; then the server goes away.
    Shutdown,
    Lose,
    /// The connection ends without an answer.
    End(Ending),
    /// The stream is reset.
    Reset,
}

impl DeviceRule {
    /// The rule for a token.
    pub(in crate::simulator) fn of(token: &[u8]) -> Self {
        let of_number = |number: u8| {
            let (tens, ones) = (usize::from(number >> 4), usize::from(number & 0x0f));
            let documented = ApnsReason::DOCUMENTED.get(tens * 10 + ones).filter(|_| ones < 10 && tens < 10);
            documented.map_or(Self::Accept, |reason| Self::Reject(*reason))
        };
        match token {
            [0xee, number, ..] if is_made_up(token) => of_number(*number),
            _ => Self::alike(TokenRule::of(token)),
        }
    }

    /// What comes nearest to the binary gateway's rule.
    fn alike(rule: TokenRule) -> Self {
        match rule {
            TokenRule::Accept => Self::Accept,
            TokenRule::Unregistered => Self::Reject(ApnsReason::Unregistered),
            TokenRule::Shutdown => Self::Shutdown,
            TokenRule::Reset => Self::End(Ending::Reset),
            TokenRule::Close => Self::End(Ending::Clean),
            TokenRule::Lose => Self::Lose,
            TokenRule::Reject(status) => match status {
                1 => Self::Reject(ApnsReason::InternalServerError),
                2 => Self::Reject(ApnsReason::MissingDeviceToken),
                3 => Self::Reject(ApnsReason::MissingTopic),
                4 => Self::Reject(ApnsReason::PayloadEmpty),
                6 => Self::Reject(ApnsReason::BadTopic),
                7 => Self::Reject(ApnsReason::PayloadTooLarge),
                128 => Self::Reset,
                255 => Self::Reject(ApnsReason::Unknown(400)),
                _ => Self::Reject(ApnsReason::BadDeviceToken),
            },
        }
    }

    /// What is answered.
    pub(in crate::simulator) fn verdict(self) -> Result<(), ApnsReason> {
        match self {
            Self::Accept | Self::Shutdown | Self::Lose | Self::End(_) | Self::Reset => Ok(()),
            Self::Reject(reason) => Err(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of the help text, by the hex digits with which a token begins.
    fn documented() -> Vec<(&'static str, TokenRule, DeviceRule)> {
        let help = include_str!("../../../docs/simulator.md");
        let table = help.split("| token begins with |").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
        let mut rules = Vec::new();
        for row in table.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")) {
            let [prefixes, binary, http2] = row.split(" | ").collect::<Vec<_>>()[..] else { panic!("{row}") };
            let prefixes = prefixes.trim_end_matches('`').split("`, `");
            if !row.starts_with("ee00") {
                rules.extend(prefixes.map(|prefix| (prefix, token_rule(binary), device_rule(http2))));
            }
        }
        rules
    }

    fn token_rule(text: &str) -> TokenRule {
        match text.split_once("status ") {
            _ if text.contains("shuts down") => TokenRule::Shutdown,
            Some((_, status)) => TokenRule::Reject(status.split(',').next().unwrap().parse().unwrap()),
            None if text.starts_with("resets") => TokenRule::Reset,
            None if text.starts_with("closes") => TokenRule::Close,
            None if text.contains("forgets") => TokenRule::Lose,
            None => TokenRule::Unregistered,
        }
    }

    fn device_rule(text: &str) -> DeviceRule {
        match text {
            _ if text.contains("GOAWAY") => DeviceRule::Shutdown,
            _ if text.starts_with("resets the connection") => DeviceRule::End(Ending::Reset),
            _ if text.starts_with("closes") => DeviceRule::End(Ending::Clean),
            _ if text.contains("forgets") => DeviceRule::Lose,
            _ if text.starts_with("resets the stream") => DeviceRule::Reset,
            _ if text.contains("no document") => DeviceRule::Reject(ApnsReason::Unknown(400)),
            named => DeviceRule::Reject(ApnsReason::from_name(named.split(',').next().unwrap()).unwrap()),
        }
    }

    #[test]
    fn the_table_is_as_documented() {
        let documented = documented();
        assert_eq!(documented.len(), 16);
        for prefix in (0..=u16::MAX).filter(|prefix| prefix >> 8 != 0xee) {
            let token = [&prefix.to_be_bytes()[..], &[0xf0; 1], &[0x00; 29]].concat();
            let digits = format!("{prefix:04x}f000");
            let expected = documented.iter().find(|(prefix, ..)| digits.starts_with(prefix));
            assert_eq!(TokenRule::of(&token), expected.map_or(TokenRule::Accept, |(_, rule, _)| *rule), "{digits}");
            assert_eq!(DeviceRule::of(&token), expected.map_or(DeviceRule::Accept, |(.., rule)| *rule), "{digits}");
        }
        assert_eq!(TokenRule::of(&[&[0xba, 0xdf, 0x0f][..], &[0; 29]].concat()), TokenRule::Accept);
        assert_eq!(TokenRule::of(&[0xba]), TokenRule::Accept);
    }

    #[test]
    fn reasons_have_their_numbers() {
        let help = include_str!("../../../docs/simulator.md");
        for (number, reason) in ApnsReason::DOCUMENTED.into_iter().enumerate() {
            assert!(help.contains(&format!("| {number:02} {} |", reason.name())), "{number} {reason}");
            let byte = u8::from_str_radix(&format!("{number:02}"), 16).unwrap();
            assert_eq!(DeviceRule::of(&numbered(byte)), DeviceRule::Reject(reason));
            assert_eq!(TokenRule::of(&numbered(byte)), TokenRule::Accept);
        }
        assert!(
            [0x0a, 0x32, 0x99, 0xa0, 0xff].iter().all(|byte| DeviceRule::of(&numbered(*byte)) == DeviceRule::Accept)
        );
    }

    fn numbered(byte: u8) -> [u8; 32] {
        let mut token = [0xaa; 32];
        token[..2].copy_from_slice(&[0xee, byte]);
        token
    }

    #[test]
    fn a_token_of_a_device_is_accepted_whatever_it_begins_with() {
        for prefix in [[0xba, 0xd8], [0xba, 0xda], [0xde, 0xad], [0xee, 0x18]] {
            let random: Vec<u8> = prefix.into_iter().chain((1..=30).map(|at| at * 7)).collect();
            assert_eq!((TokenRule::of(&random), DeviceRule::of(&random)), (TokenRule::Accept, DeviceRule::Accept));
            let made_up = [&prefix[..], &[0xaa; 30]].concat();
            assert_ne!(DeviceRule::of(&made_up), DeviceRule::Accept, "{prefix:02x?}");
        }
    }
}
