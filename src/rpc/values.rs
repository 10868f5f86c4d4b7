//! Building the values of answers.

use jiff::tz::TimeZone;

use crate::domain::time::Timestamp;
use crate::xmlrpc::value::{Fault, Value};

/// A moment as `dateTime.iso8601`, in UTC.
pub(super) fn date_time(timestamp: Timestamp) -> Value<'static> {
    let time = jiff::Timestamp::from_millisecond(timestamp.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    Value::DateTime(TimeZone::UTC.to_datetime(time))
}

/// A count: an `int` while it fits in 32 bits, which is all that many clients read, a `double` beyond.
pub(super) fn count(number: u64) -> Value<'static> {
    match i32::try_from(number) {
        Ok(number) => Value::Int(number.into()),
        // Exact up to 2^53.
        Err(_) => Value::Double(number as f64),
    }
}

/// A struct from names and values; those without a value are left out.
pub(super) fn structure<const N: usize>(members: [(&'static str, Option<Value<'static>>); N]) -> Value<'static> {
    Value::Struct(members.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect())
}

/// A fault as a value, the way `system.multicall` returns it.
pub(super) fn fault_struct(fault: Fault) -> Value<'static> {
    structure([("faultCode", Some(Value::Int(fault.code.into()))), ("faultString", Some(Value::string(fault.text)))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_32_bits_are_doubles() {
        assert_eq!(count(2_147_483_647), Value::Int(2_147_483_647));
        assert_eq!(count(2_147_483_648), Value::Double(2_147_483_648.0));
    }

    #[test]
    fn dates_are_utc() {
        let date = jiff::civil::date(2011, 3, 13).at(7, 6, 40, 0);
        assert_eq!(date_time(Timestamp::from_secs(1_300_000_000)), Value::DateTime(date));
    }

    #[test]
    fn members_without_a_value_are_left_out() {
        let value = structure([("a", Some(Value::Nil)), ("b", None)]);
        assert_eq!(value, Value::structure(vec![("a".into(), Value::Nil)]));
    }
}
