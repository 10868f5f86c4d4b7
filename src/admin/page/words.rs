//! Numbers, spans, sizes and moments as people read them. Pure.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// Groups of three digits: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Per second, with a decimal below ten: `0.4/s`, `120/s`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate <= 0.0 => "0/s".to_owned(),
        rate if rate < 0.1 => "<0.1/s".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}/s"),
        // A rate is neither negative nor near the end of the numbers here.
        rate => format!("{}/s", count(rate.round() as u64)),
    }
}

/// The two largest units: `3 d 4 h`, `5 min`, `12 s`.
pub(super) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// As [`span`], for what need not move every second.
pub(super) fn coarse_span(whole: Duration) -> String {
    if whole.as_secs() < 60 { "less than a minute".to_owned() } else { span(whole) }
}

/// Bytes of memory: `24 MiB`.
pub(super) fn size(bytes: u64) -> String {
    format!("{} MiB", count(bytes.div_ceil(1 << 20)))
}

/// A moment in UTC, to the second: `2011-03-13 07:06:40`.
pub(super) fn moment(at: Timestamp) -> String {
    at.to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// The day of a moment, in UTC: `2011-03-13`.
pub(super) fn day(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// Text of others in one line: what would move a cursor becomes a space.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// A text in parts, each with whether it stands between backticks: something to type. One backtick alone is just that.
pub(super) fn parts(text: &str) -> Vec<(bool, &str)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('`') {
        let Some((code, after)) = behind.split_once('`') else { break };
        parts.extend([(false, before), (true, code)]);
        rest = after;
    }
    parts.push((false, rest));
    parts.retain(|(_, part)| !part.is_empty());
    parts
}

/// One, or several: `1 app`, `3 apps`.
pub(super) fn several(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{} {one}s", count(number as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), shown);
        }
    }

    #[test]
    fn small_rates_have_a_decimal() {
        for (per_second, shown) in
            [(0.0, "0/s"), (0.05, "<0.1/s"), (0.44, "0.4/s"), (9.94, "9.9/s"), (9.96, "10/s"), (12_345.6, "12,346/s")]
        {
            assert_eq!(rate(per_second), shown);
        }
    }

    #[test]
    fn spans_have_their_largest_units() {
        for (secs, shown) in [(0, "0 s"), (59, "59 s"), (61, "1 min"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(span(Duration::from_secs(secs)), shown);
        }
        assert_eq!(coarse_span(Duration::from_secs(59)), "less than a minute");
        assert_eq!(coarse_span(Duration::from_secs(60)), "1 min");
    }

    #[test]
    fn moments_are_utc_without_the_letters() {
        let at = Timestamp::from_secs(1_300_000_000);
        assert_eq!((moment(at).as_str(), day(at).as_str()), ("2011-03-13 07:06:40", "2011-03-13"));
    }

    #[test]
    fn what_is_to_be_typed_stands_between_backticks() {
        assert_eq!(parts("Add one: `a b`."), [(false, "Add one: "), (true, "a b"), (false, ".")]);
        assert_eq!(parts("`a`"), [(true, "a")]);
        assert_eq!(parts("it`s"), [(false, "it`s")]);
        assert_eq!(parts(""), []);
    }

    #[test]
    fn others_text_stays_in_its_line() {
        assert_eq!(plain("a\r\nb\u{1b}[1m\u{85}"), "a  b [1m ");
        assert_eq!(several(1, "app") + ", " + &several(1200, "app"), "1 app, 1,200 apps");
        assert_eq!(size(24 << 20), "24 MiB");
    }
}
