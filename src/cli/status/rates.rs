//! Rates from counters that were read twice. Pure.

use super::super::render::{cell, items, member};
use crate::clock::Instant;
use crate::xmlrpc::value::Value;

/// What is counted since the daemon started, and the name of its rate.
const COUNTED: [(&str, &str); 3] =
    [("accepted", "accepted/s"), ("delivered", "delivered/s"), ("rejected", "rejected/s")];

/// An answer of `apnsd.status`, and when it came.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) answer: Value<'static>,
    pub(super) at: Instant,
}

impl Sample {
    /// How often a second things happened to an app between an earlier sample and this one: name and rate. Nothing
    /// where a counter began anew meanwhile.
    pub(super) fn rates_since(&self, earlier: &Self, app: &Value<'_>) -> Vec<(&'static str, Value<'static>)> {
        let seconds = self.at.since(earlier.at).as_secs_f64();
        let began = |sample: &Self| cell(member(&sample.answer, "started"));
        let Some(before) = earlier.app(&cell(member(app, "app_id"))) else { return Vec::new() };
        if seconds <= 0.0 || began(self) != began(earlier) {
            return Vec::new();
        }
        let difference = |name| Some(number(member(app, name)?)? - number(member(before, name)?)?);
        let rate = |(name, title)| Some((title, difference(name).filter(|count| *count >= 0.0)? / seconds));
        let rounded = |(title, rate): (_, f64)| (title, Value::Double((rate * 10.0).round() / 10.0));
        COUNTED.into_iter().map(rate).collect::<Option<Vec<_>>>().unwrap_or_default().into_iter().map(rounded).collect()
    }

    /// An app by its name, in the answer for all apps or for one.
    fn app(&self, name: &str) -> Option<&Value<'static>> {
        let apps = member(&self.answer, "apps").map_or(std::slice::from_ref(&self.answer), items);
        apps.iter().find(|app| cell(member(app, "app_id")) == name)
    }
}

/// Counts beyond 32 bits are doubles.
pub(super) fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Double(number) => Some(*number),
        Value::Boolean(_) | Value::String(_) | Value::DateTime(_) | Value::Base64(_) => None,
        Value::Nil | Value::Array(_) | Value::Struct(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn app(accepted: Value<'static>, delivered: i64) -> Value<'static> {
        Value::structure(vec![
            ("app_id".into(), Value::string("shop")),
            ("accepted".into(), accepted),
            ("delivered".into(), Value::Int(delivered)),
            ("rejected".into(), Value::Int(1)),
        ])
    }

    fn sample(started: i64, app: Value<'static>, seconds: u64) -> Sample {
        let members = vec![("started".into(), Value::Int(started)), ("apps".into(), Value::Array(vec![app]))];
        Sample { answer: Value::structure(members), at: Instant::from_start(Duration::from_secs(seconds)) }
    }

    #[test]
    fn a_rate_is_a_difference_over_the_time_between() {
        let before = sample(7, app(Value::Double(5e9), 100), 10);
        let now = app(Value::Double(5e9 + 25.0), 101);
        let rates = sample(7, now.clone(), 14).rates_since(&before, &now);
        let expected = [("accepted/s", 6.3), ("delivered/s", 0.3), ("rejected/s", 0.0)];
        assert_eq!(rates, expected.map(|(name, rate)| (name, Value::Double(rate))));
    }

    #[test]
    fn a_counter_that_began_anew_has_no_rate() {
        let before = sample(7, app(Value::Int(5), 100), 10);
        let less = app(Value::Int(6), 99);
        assert_eq!(sample(7, less.clone(), 14).rates_since(&before, &less), []);
        let restarted = app(Value::Int(500), 500);
        assert_eq!(sample(8, restarted.clone(), 14).rates_since(&before, &restarted), []);
        let same_moment = app(Value::Int(6), 101);
        assert_eq!(sample(7, same_moment.clone(), 10).rates_since(&before, &same_moment), []);
    }
}
