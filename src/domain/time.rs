//! Wall-clock time as the product stores and shows it.

use std::fmt;
use std::time::Duration;

/// Milliseconds since the Unix epoch, UTC. What is stored, shown and sent; never used to measure a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment plus a span, at the latest the end of time.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment less a span, at the earliest the beginning of time.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How much later this moment is than `earlier`; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Days from `earlier` to this moment, a part of one counting as one; not positive if this moment is not later.
    pub const fn days_since(self, earlier: Self) -> i64 {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        let millis = self.0.saturating_sub(earlier.0);
        millis.div_euclid(DAY) + (millis.rem_euclid(DAY) > 0) as i64
    }

    /// The form of XML-RPC's `dateTime.iso8601`, in UTC: `20110313T07:06:40`.
    pub fn iso8601_basic(self) -> impl fmt::Display {
        self.civil().map_or_else(|| "19700101T00:00:00".to_owned(), |time| time.strftime("%Y%m%dT%H:%M:%S").to_string())
    }

    fn civil(self) -> Option<jiff::civil::DateTime> {
        let timestamp = jiff::Timestamp::from_millisecond(self.0).ok()?;
        Some(timestamp.to_zoned(jiff::tz::TimeZone::UTC).datetime())
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with seconds, in UTC: `2011-03-13T07:06:40Z`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.civil() {
            Some(time) => write!(formatter, "{}", time.strftime("%Y-%m-%dT%H:%M:%SZ")),
            None => write!(formatter, "{} ms after 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_itself_in_both_forms() {
        let time = Timestamp::from_secs(1_300_000_000);
        assert_eq!(time.iso8601_basic().to_string(), "20110313T07:06:40");
        assert_eq!(time.to_string(), "2011-03-13T07:06:40Z");
    }

    #[test]
    fn a_part_of_a_day_counts_as_one() {
        const DAY: i64 = 86_400_000;
        for (millis, days) in [(1, 1), (DAY, 1), (DAY + 1, 2), (0, 0), (-1, 0), (-DAY, -1), (-DAY - 1, -1)] {
            assert_eq!(Timestamp::from_millis(5 + millis).days_since(Timestamp::from_millis(5)), days, "{millis}");
        }
    }

    #[test]
    fn seconds_before_the_epoch_round_down() {
        assert_eq!(Timestamp::from_millis(-1).as_secs(), -1);
    }
}
