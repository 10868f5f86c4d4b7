//! Single values as people write them: durations, sizes, counts, words, lists. Pure.
//!
//! An error is a fragment that follows the key: what is wrong, and how to write it.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

/// A value as it stands in the file, or as text in an environment variable.
#[derive(Clone, Debug)]
pub(super) enum Raw<'a> {
    /// From the file.
    Toml(DeValue<'a>),
    /// From a variable: strings without quotes, lists with commas.
    Text(String),
}

impl Raw<'_> {
    fn type_name(&self) -> &'static str {
        match self {
            Raw::Toml(value) => value.type_str(),
            Raw::Text(_) => "text",
        }
    }
}

/// Text as it is.
pub(super) fn text(raw: &Raw<'_>) -> Result<String, String> {
    match raw {
        Raw::Toml(DeValue::String(text)) => Ok(text.to_string()),
        Raw::Text(text) => Ok(text.clone()),
        Raw::Toml(_) => Err(format!("needs text in quotes, not {}", raw.type_name())),
    }
}

/// Text that a type can read by itself.
pub(super) fn parsed<T>(raw: &Raw<'_>) -> Result<T, String>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text(raw)?.parse().map_err(|error: T::Err| error.to_string())
}

/// `true` or `false`.
pub(super) fn boolean(raw: &Raw<'_>) -> Result<bool, String> {
    match raw {
        Raw::Toml(DeValue::Boolean(value)) => Ok(*value),
        Raw::Text(text) if text == "true" => Ok(true),
        Raw::Text(text) if text == "false" => Ok(false),
        Raw::Toml(_) | Raw::Text(_) => Err(format!("needs true or false, not {}", raw.type_name())),
    }
}

/// A whole number from 1 on.
pub(super) fn count<T: TryFrom<u64>>(raw: &Raw<'_>) -> Result<T, String> {
    let number = match raw {
        Raw::Toml(DeValue::Integer(integer)) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        Raw::Text(text) => text.trim().parse().ok(),
        Raw::Toml(_) => return Err(format!("needs a whole number without quotes, not {}", raw.type_name())),
    };
    let number = number.filter(|number| *number > 0).ok_or("needs a whole number from 1 on")?;
    T::try_from(number).map_err(|_| format!("{number} is too large"))
}

/// `5s`, `500ms`, `30m`, `24h`, `30d`: longer than nothing.
pub(super) fn duration(raw: &Raw<'_>) -> Result<Duration, String> {
    match raw {
        Raw::Toml(DeValue::Integer(integer)) => parse_duration(integer.as_str()),
        Raw::Toml(_) | Raw::Text(_) => parse_duration(&text(raw)?),
    }
}

/// Reads a duration as the config file and the command line write it: `5s`, `500ms`, `30m`, `24h`, `30d`.
///
/// The error says what is wrong and how to write one.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "a number with a unit (ms, s, m, h, d), as in \"30s\"";
    let (number, unit) = split_unit(text).ok_or_else(|| format!("`{text}` is not a duration: write {FORM}"))?;
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("`{text}` has no unit: write {FORM}")),
        _ => return Err(format!("`{unit}` is not a unit of time: write {FORM}")),
    };
    match number.checked_mul(millis_per_unit).filter(|millis| *millis <= DURATION_MILLIS_MAX) {
        Some(0) => Err(format!("`{text}` is no time at all: write {FORM}")),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err(format!("`{text}` is longer than 100 years")),
    }
}

/// Keeps every duration far from where adding it to a clock could overflow.
const DURATION_MILLIS_MAX: u64 = 100 * 365 * 86_400_000;

/// `64MiB`, `256KiB`, `1GiB`, `512B`: more than nothing.
pub(super) fn size<T: TryFrom<u64>>(raw: &Raw<'_>) -> Result<T, String> {
    let text = size_text(raw)?;
    match parse_size(&text)? {
        0 => Err(format!("`{text}` is nothing at all: write {SIZE_FORM}")),
        bytes => T::try_from(bytes).map_err(|_| format!("`{text}` is too large")),
    }
}

/// The size of request bodies: at least what the smallest call takes with room to spare.
pub(super) fn body_size(raw: &Raw<'_>) -> Result<usize, String> {
    match size(raw)? {
        bytes if bytes < BODY_MIN => Err("is less than any call needs: at least \"1KiB\"".to_owned()),
        bytes => Ok(bytes),
    }
}

const BODY_MIN: usize = 1 << 10;

/// As [`size`], or `0` with or without a unit: nothing.
pub(super) fn size_or_none(raw: &Raw<'_>) -> Result<u64, String> {
    match size_text(raw)?.trim() {
        "0" => Ok(0),
        text => parse_size(text),
    }
}

const SIZE_FORM: &str = "a number with a unit (B, KiB, MiB, GiB), as in \"64MiB\"";

fn size_text(raw: &Raw<'_>) -> Result<String, String> {
    match raw {
        Raw::Toml(DeValue::Integer(integer)) => Ok(integer.as_str().to_owned()),
        Raw::Toml(_) | Raw::Text(_) => text(raw),
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text).ok_or_else(|| format!("`{text}` is not a size: write {SIZE_FORM}"))?;
    let bytes_per_unit = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return Err(format!("`{text}` has no unit: write {SIZE_FORM}")),
        _ => return Err(format!("`{unit}` is not a unit of size: write {SIZE_FORM}")),
    };
    number.checked_mul(bytes_per_unit).ok_or_else(|| format!("`{text}` is too large"))
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A path; which directory a relative one starts from is the reader's business.
pub(super) fn path(raw: &Raw<'_>) -> Result<PathBuf, String> {
    match text(raw)? {
        path if path.is_empty() => Err("needs a path".to_owned()),
        path if path.contains('\0') => Err("has a NUL character, which no path can have: remove it".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

/// The items of a list, none of them read yet.
pub(super) fn items<'a>(raw: &Raw<'a>) -> Result<Vec<Raw<'a>>, String> {
    match raw {
        Raw::Toml(DeValue::Array(array)) => Ok(array.iter().map(|value| Raw::Toml(value.get_ref().clone())).collect()),
        Raw::Text(text) if is_bracketed(text) => quoted_items(text).ok_or_else(|| {
            format!("`{text}` is not a list: write it as in the file, [\"…\", \"…\"], or with commas alone")
        }),
        Raw::Text(text) => Ok(text.split(',').map(|part| Raw::Text(part.trim().to_owned())).collect()),
        Raw::Toml(_) => Err(format!("needs a list, as in [\"…\", \"…\"], not {}", raw.type_name())),
    }
}

/// The items of a list in a variable that is written as in the file.
fn quoted_items<'a>(text: &str) -> Option<Vec<Raw<'a>>> {
    let value = DeValue::parse(text).ok()?.into_inner();
    let item = |value: &Spanned<DeValue<'_>>| Some(Raw::Text(value.get_ref().as_str()?.to_owned()));
    value.as_array()?.iter().map(item).collect()
}

/// An IPv6 address has brackets too, but does not end with one.
fn is_bracketed(text: &str) -> bool {
    text.starts_with('[') && text.ends_with(']')
}

/// One word of a closed set.
pub(super) fn word<'a, T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Raw<'a>) -> Result<T, String> {
    move |raw| {
        let text = text(raw)?;
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            format!("`{text}` is not one of {}", words.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Raw<'_> {
        Raw::Toml(DeValue::parse(text).unwrap().into_inner())
    }

    #[test]
    fn durations_have_a_unit() {
        let read = |text: &str| duration(&Raw::Text(text.to_owned()));
        assert_eq!(read("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(read("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(read("30 m"), Ok(Duration::from_secs(1_800)));
        assert_eq!(read("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration(&of("\"30d\"")), Ok(Duration::from_secs(2_592_000)));
    }

    #[test]
    fn bad_durations_say_how_to_write_one() {
        const FORM: &str = "a number with a unit (ms, s, m, h, d), as in \"30s\"";
        for (text, error) in [
            ("5", format!("`5` has no unit: write {FORM}")),
            ("\"5\"", format!("`5` has no unit: write {FORM}")),
            ("\"5 weeks\"", format!("`weeks` is not a unit of time: write {FORM}")),
            ("\"-5s\"", format!("`-5s` is not a duration: write {FORM}")),
            ("\"0s\"", format!("`0s` is no time at all: write {FORM}")),
            ("\"36501d\"", "`36501d` is longer than 100 years".to_owned()),
            ("\"18446744073709551615d\"", "`18446744073709551615d` is longer than 100 years".to_owned()),
            ("true", "needs text in quotes, not boolean".to_owned()),
        ] {
            assert_eq!(duration(&of(text)), Err(error));
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(size(&of("\"64MiB\"")), Ok(67_108_864_u64));
        assert_eq!(size(&of("\"256KiB\"")), Ok(262_144_usize));
        assert_eq!(size(&of("\"1GiB\"")), Ok(1_073_741_824_u64));
        assert_eq!(size(&Raw::Text("512 B".to_owned())), Ok(512_u64));
        const FORM: &str = "a number with a unit (B, KiB, MiB, GiB), as in \"64MiB\"";
        assert_eq!(size::<u64>(&of("64")), Err(format!("`64` has no unit: write {FORM}")));
        assert_eq!(size::<u64>(&of("\"64\"")), Err(format!("`64` has no unit: write {FORM}")));
        assert_eq!(size::<u64>(&of("true")), Err("needs text in quotes, not boolean".to_owned()));
        assert_eq!(size::<u64>(&of("\"64MB\"")), Err(format!("`MB` is not a unit of size: write {FORM}")));
        assert_eq!(size::<u64>(&of("\"0B\"")), Err(format!("`0B` is nothing at all: write {FORM}")));
        assert_eq!(size::<u64>(&of("\"17179869184GiB\"")), Err("`17179869184GiB` is too large".to_owned()));
    }

    #[test]
    fn only_a_size_that_may_be_none_is_0_with_or_without_a_unit() {
        for text in ["0", "\"0\"", "\"0B\"", "\"0 MiB\""] {
            assert_eq!(size_or_none(&of(text)), Ok(0));
            assert!(size::<u64>(&of(text)).is_err());
        }
        assert_eq!(size_or_none(&Raw::Text("0".to_owned())), Ok(0));
        assert_eq!(size_or_none(&of("\"64MiB\"")), Ok(67_108_864));
        const FORM: &str = "a number with a unit (B, KiB, MiB, GiB), as in \"64MiB\"";
        assert_eq!(size_or_none(&of("64")), Err(format!("`64` has no unit: write {FORM}")));
        assert_eq!(size_or_none(&of("\"none\"")), Err(format!("`none` is not a size: write {FORM}")));
    }

    #[test]
    fn counts_begin_at_one_and_fit_their_type() {
        assert_eq!(count(&of("0x10")), Ok(16_u8));
        assert_eq!(count::<u8>(&of("256")), Err("256 is too large".to_owned()));
        for text in ["0", "-1"] {
            assert_eq!(count::<u8>(&of(text)), Err("needs a whole number from 1 on".to_owned()));
        }
        assert_eq!(count::<u8>(&of("\"5\"")), Err("needs a whole number without quotes, not string".to_owned()));
    }

    #[test]
    fn lists_come_from_arrays_and_from_commas() {
        let list = |raw: &Raw<'_>| items(raw)?.iter().map(text).collect::<Result<Vec<_>, _>>();
        let expected = Ok(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(list(&of("[\"a\", \"b\"]")), expected);
        assert_eq!(list(&Raw::Text("a, b".to_owned())), expected);
        assert_eq!(list(&Raw::Text("[\"a\", 'b']".to_owned())), expected);
        assert_eq!(list(&Raw::Text("[::1]:7077".to_owned())), Ok(vec!["[::1]:7077".to_owned()]));
        assert_eq!(
            list(&Raw::Text("[a, b]".to_owned())),
            Err("`[a, b]` is not a list: write it as in the file, [\"…\", \"…\"], or with commas alone".to_owned())
        );
        assert_eq!(list(&of("\"a\"")), Err("needs a list, as in [\"…\", \"…\"], not string".to_owned()));
    }

    #[test]
    fn words_are_of_a_closed_set() {
        const WORDS: &[(&str, u8)] = &[("one", 1), ("two", 2)];
        assert_eq!(word(WORDS)(&of("\"two\"")), Ok(2));
        assert_eq!(word(WORDS)(&of("\"three\"")), Err("`three` is not one of `one`, `two`".to_owned()));
        assert_eq!(boolean(&of("\"true\"")), Err("needs true or false, not string".to_owned()));
    }
}
