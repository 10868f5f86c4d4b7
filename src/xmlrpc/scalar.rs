//! The text of scalar values: integers, doubles, booleans, dates, base64. White space around them is ignored.

use std::num::IntErrorKind;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::SignedDuration;
use jiff::civil::DateTime;

use super::error::{ErrorKind, excerpt};

/// Reads an integer of a width: sign, digits, leading zeros.
pub(super) fn integer(text: &str, bits: u32) -> Result<i64, ErrorKind> {
    let text = text.trim_ascii();
    let out_of_range = || ErrorKind::IntegerRange { text: excerpt(text), bits };
    match text.parse::<i64>() {
        Ok(number) if number >> (bits - 1) == number >> 63 => Ok(number),
        Ok(_) => Err(out_of_range()),
        Err(error) if matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => {
            Err(out_of_range())
        }
        Err(_) => Err(ErrorKind::Integer(excerpt(text))),
    }
}

/// Reads a double, with an exponent if it has one, and `nan` and `inf` as Python and Java write them.
pub(super) fn double(text: &str) -> Result<f64, ErrorKind> {
    let text = text.trim_ascii();
    match text.parse::<f64>() {
        Ok(number) if number.is_infinite() && text.contains(|letter: char| letter.is_ascii_digit()) => {
            Err(ErrorKind::Double(excerpt(text)))
        }
        Ok(number) => Ok(number),
        Err(_) => Err(ErrorKind::Double(excerpt(text))),
    }
}

/// Reads `0` or `1`.
pub(super) fn boolean(text: &str) -> Result<bool, ErrorKind> {
    match text.trim_ascii() {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(ErrorKind::Boolean(excerpt(other))),
    }
}

/// Reads base64 with any white space in it, padded or not.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, ErrorKind> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(digits).map_err(|_| ErrorKind::Base64)
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads `YYYYMMDDTHH:MM:SS`; dashes, no colons, a fraction, `Z` and an offset are accepted as well.
///
/// An offset is applied, so that the result is UTC. A leap second becomes the second before it, `24:00:00` the midnight
/// that it is.
pub(super) fn date_time(text: &str) -> Result<DateTime, ErrorKind> {
    let text = text.trim_ascii();
    DateReader(text.as_bytes()).date_time().ok_or_else(|| ErrorKind::DateTime(excerpt(text)))
}

/// What of a date is still to be read.
struct DateReader<'a>(&'a [u8]);

impl DateReader<'_> {
    fn date_time(mut self) -> Option<DateTime> {
        let (year, month, day) = self.triple(4, b'-')?;
        self.skip(b'T').then_some(())?;
        let (hour, minute, second) = self.triple(2, b':')?;
        let nanosecond = self.fraction()?;
        let offset = self.offset()?;
        let day_over = hour == 24;
        if !self.0.is_empty() || day_over && (minute, second, nanosecond) != (0, 0, 0) {
            return None;
        }
        let time = DateTime::new(
            i16::try_from(year).ok()?,
            i8::try_from(month).ok()?,
            i8::try_from(day).ok()?,
            i8::try_from(if day_over { 0 } else { hour }).ok()?,
            i8::try_from(minute).ok()?,
            i8::try_from(if second == 60 { 59 } else { second }).ok()?,
            nanosecond,
        );
        let shift = SignedDuration::from_hours(if day_over { 24 } else { 0 }) - offset;
        time.ok()?.checked_add(shift).ok().filter(|time| (0..=9999).contains(&time.year()))
    }

    /// Three numbers, the later two of two digits, separated both times or not at all.
    fn triple(&mut self, first_digits: usize, separator: u8) -> Option<(i32, i32, i32)> {
        let first = self.number(first_digits)?;
        let separated = self.skip(separator);
        let second = self.number(2)?;
        (self.skip(separator) == separated).then_some(())?;
        Some((first, second, self.number(2)?))
    }

    /// Nanoseconds; digits beyond them are dropped.
    fn fraction(&mut self) -> Option<i32> {
        if !self.skip(b'.') && !self.skip(b',') {
            return Some(0);
        }
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (fraction, rest) = self.0.split_at(digits);
        self.0 = rest;
        let nanoseconds = (0..9).fold(0, |sum, place| {
            let digit = fraction.get(place).map_or(0, |digit| i32::from(digit - b'0'));
            sum * 10 + digit
        });
        (digits > 0).then_some(nanoseconds)
    }

    fn offset(&mut self) -> Option<SignedDuration> {
        if self.0.is_empty() || self.skip(b'Z') {
            return Some(SignedDuration::ZERO);
        }
        let west = self.skip(b'-');
        (west || self.skip(b'+')).then_some(())?;
        let hours = self.number(2)?;
        let colon = self.skip(b':');
        let minutes = if self.0.is_empty() && !colon { 0 } else { self.number(2)? };
        let minutes = (hours < 24 && minutes < 60).then_some(i64::from(hours * 60 + minutes))?;
        Some(SignedDuration::from_mins(if west { -minutes } else { minutes }))
    }

    fn number(&mut self, digits: usize) -> Option<i32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i32::from(byte - b'0')))
    }

    fn skip(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_signs_leading_zeros_and_white_space() {
        for (text, number) in [("12", 12), ("+12", 12), ("-12", -12), ("012", 12), (" \n12\t", 12), ("-0", 0)] {
            assert_eq!(integer(text, 32), Ok(number), "{text:?}");
        }
        assert_eq!(integer(&format!("{}7", "0".repeat(1_000_000)), 32), Ok(7));
    }

    #[test]
    fn integers_end_where_their_type_ends() {
        for (bits, least, most) in [
            (8, "-128", "127"),
            (16, "-32768", "32767"),
            (32, "-2147483648", "2147483647"),
            (64, "-9223372036854775808", "9223372036854775807"),
        ] {
            assert_eq!(integer(least, bits).map(|number| number.to_string()), Ok(least.to_owned()));
            assert_eq!(integer(most, bits).map(|number| number.to_string()), Ok(most.to_owned()));
        }
        for (bits, text) in [(8, "128"), (16, "-32769"), (32, "2147483648"), (64, "9223372036854775808")] {
            assert_eq!(integer(text, bits), Err(ErrorKind::IntegerRange { text: text.to_owned(), bits }));
        }
        assert!(matches!(integer(&"9".repeat(1_000_000), 64), Err(ErrorKind::IntegerRange { .. })));
    }

    #[test]
    fn other_text_is_no_integer() {
        for text in ["", " ", "+", "1 2", "1.0", "0x10", "١", "--1", "1e3"] {
            assert_eq!(integer(text, 32), Err(ErrorKind::Integer(text.trim().to_owned())));
        }
    }

    #[test]
    fn doubles_are_read_as_the_wild_writes_them() {
        for (text, number) in [
            ("-12.214", -12.214),
            ("1", 1.0),
            (" 1.5\n", 1.5),
            ("+.5", 0.5),
            ("5.", 5.0),
            ("1e5", 1e5),
            ("1.0E+20", 1e20),
            ("-1e-320", -1e-320),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(double(text), Ok(number), "{text:?}");
        }
        assert!(double("nan").unwrap().is_nan() && double("NaN").unwrap().is_nan());
    }

    #[test]
    fn other_text_is_no_double() {
        for text in ["", " ", "1,5", "1e", "0x1p3", "1_000", "one", "1e999", "-1e999"] {
            assert_eq!(double(text), Err(ErrorKind::Double(text.trim().to_owned())));
        }
    }

    #[test]
    fn booleans_are_0_and_1() {
        assert_eq!((boolean(" 0 "), boolean("\n1")), (Ok(false), Ok(true)));
        for text in ["", "2", "true", "01"] {
            assert_eq!(boolean(text), Err(ErrorKind::Boolean(text.to_owned())));
        }
    }

    #[test]
    fn base64_may_hold_white_space_and_lack_padding() {
        for text in ["aGVsbG8=", "\naGVs\r\nbG8=\n", " a G V s b G 8 = ", "aGVsbG8"] {
            assert_eq!(base64(text), Ok(b"hello".to_vec()), "{text:?}");
        }
        assert_eq!(base64(" "), Ok(Vec::new()));
    }

    #[test]
    fn other_text_is_no_base64() {
        for text in ["aGVsbG8*", "a", "aGVsbG8=aGVsbG8=", "aGVs-_8=", "===="] {
            assert_eq!(base64(text), Err(ErrorKind::Base64), "{text:?}");
        }
    }

    fn utc(text: &str) -> String {
        date_time(text).unwrap().to_string()
    }

    #[test]
    fn dates_come_with_and_without_separators() {
        for text in ["19980717T14:08:55", "1998-07-17T14:08:55", "19980717T140855", " 1998-07-17T140855\n"] {
            assert_eq!(utc(text), "1998-07-17T14:08:55", "{text:?}");
        }
        assert_eq!(utc("00000101T00:00:00"), "0000-01-01T00:00:00");
        assert_eq!(utc("99991231T23:59:59"), "9999-12-31T23:59:59");
        assert_eq!(utc("20240229T00:00:00"), "2024-02-29T00:00:00");
    }

    #[test]
    fn offsets_are_applied() {
        assert_eq!(utc("19980717T14:08:55Z"), "1998-07-17T14:08:55");
        assert_eq!(utc("1998-07-17T14:08:55+02:00"), "1998-07-17T12:08:55");
        assert_eq!(utc("19980717T14:08:55-0530"), "1998-07-17T19:38:55");
        assert_eq!(utc("19980101T00:30:00+01"), "1997-12-31T23:30:00");
    }

    #[test]
    fn fractions_are_kept_to_the_nanosecond() {
        assert_eq!(utc("19980717T14:08:55.5"), "1998-07-17T14:08:55.5");
        assert_eq!(utc("19980717T14:08:55,123456789999Z"), "1998-07-17T14:08:55.123456789");
    }

    #[test]
    fn leap_seconds_and_the_end_of_the_day_are_normalised() {
        assert_eq!(utc("20161231T23:59:60Z"), "2016-12-31T23:59:59");
        assert_eq!(utc("20161231T24:00:00"), "2017-01-01T00:00:00");
    }

    #[test]
    fn other_text_is_no_date() {
        for text in [
            "",
            "19980717",
            "19980717 14:08:55",
            "19980717T14:08",
            "1998-0717T14:08:55",
            "19980717T14:0855",
            "19981317T14:08:55",
            "20230229T14:08:55",
            "19980717T25:08:55",
            "19980717T24:00:01",
            "19980717T14:60:55",
            "19980717T14:08:61",
            "19980717T14:08:55.",
            "19980717T14:08:55+2",
            "19980717T14:08:55+02:",
            "19980717T14:08:55+24:00",
            "19980717T14:08:55Zjunk",
            "+9980717T14:08:55",
            "00000101T00:00:00+01:00",
            "99991231T24:00:00",
        ] {
            assert_eq!(date_time(text), Err(ErrorKind::DateTime(text.to_owned())));
        }
    }
}
