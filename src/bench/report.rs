//! What was measured: figures with what the project wants of them and what the machine allows, as JSON with keys that
//! stay.

use serde::Serialize;

use super::Settings;
use super::machine::Machine;

/// In what a figure is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Calls, notifications, requests or frames a second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds of processor time for one call or notification.
    #[serde(rename = "us")]
    Microseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Millions of bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// Thousands of bytes.
    #[serde(rename = "kB")]
    Kilobytes,
    /// A share of one.
    #[serde(rename = "1")]
    Ratio,
}

/// What the project wants of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Target {
    /// Whether a value is what is wanted.
    pub(super) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(wanted) => value >= wanted,
            Self::AtMost(wanted) => value <= wanted,
        }
    }
}

/// What the machine allows, of which a figure is a share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// The key of the limit among the figures.
    pub key: String,
    /// Its value.
    pub value: f64,
    /// The figure's share of it.
    pub ratio: f64,
}

/// One measured value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name, which stays the same from version to version.
    pub key: String,
    /// What it is, for people.
    pub what: String,
    /// The value.
    pub value: f64,
    /// In what.
    pub unit: Unit,
    /// What the project wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whether it is that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
    /// What the machine allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Bound>,
}

impl Figure {
    /// A value.
    pub(super) fn new(key: impl Into<String>, what: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { key: key.into(), what: what.into(), value, unit, target: None, met: None, limit: None }
    }

    /// With what the project wants of it; only with the counts that the target is for, so it may be left out.
    pub(super) fn wanted(self, target: impl Into<Option<Target>>) -> Self {
        let target = target.into();
        Self { target, met: target.map(|target| target.is_met(self.value)), ..self }
    }

    /// As a share of a limit.
    pub(super) fn of(self, key: String, value: f64) -> Self {
        let ratio = self.value / value.max(f64::MIN_POSITIVE);
        Self { limit: Some(Bound { key, value, ratio }), ..self }
    }
}

/// What was not measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skipped {
    /// The scenario.
    pub scenario: String,
    /// Why.
    pub reason: String,
}

/// How it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Counts {
    seconds: f64,
    depth: u32,
    apps: u32,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Of this format; a reader may rely on keys that it knows.
    format: u32,
    /// Where it was measured.
    pub machine: Machine,
    settings: Counts,
    /// What should not be overlooked.
    pub warnings: Vec<String>,
    /// The values, in the order in which they were measured.
    pub figures: Vec<Figure>,
    /// What was not measured.
    pub skipped: Vec<Skipped>,
}

impl Report {
    /// Nothing was measured yet.
    pub(super) fn new(machine: Machine, settings: &Settings) -> Self {
        let Settings { seconds, depth, apps, .. } = settings;
        let counts = Counts { seconds: seconds.as_secs_f64(), depth: *depth, apps: *apps };
        let warnings = machine.warnings();
        Self { format: 1, machine, settings: counts, warnings, figures: Vec::new(), skipped: Vec::new() }
    }

    /// Adds a figure.
    pub(super) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Says what was not measured.
    pub(super) fn skip(&mut self, scenario: &str, reason: impl Into<String>) {
        self.skipped.push(Skipped { scenario: scenario.to_owned(), reason: reason.into() });
    }

    /// Says what should not be overlooked.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_this_json() {
        let figure = Figure::new("tokens.equal.delivered", "delivered", 500_000.0, Unit::PerSecond)
            .wanted(Target::AtLeast(1_000_000.0))
            .of("limit.frames".to_owned(), 10_000_000.0);
        assert_eq!(
            serde_json::to_string(&figure).unwrap(),
            r#"{"key":"tokens.equal.delivered","what":"delivered","value":500000.0,"unit":"1/s","#.to_owned()
                + r#""target":{"at_least":1000000.0},"met":false,"#
                + r#""limit":{"key":"limit.frames","value":10000000.0,"ratio":0.05}}"#
        );
        let plain = Figure::new("x", "y", 1.0, Unit::Ratio);
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"key":"x","what":"y","value":1.0,"unit":"1"}"#);
    }

    #[test]
    fn a_target_has_a_direction() {
        let met = |target, value| Figure::new("x", "y", value, Unit::Seconds).wanted(target).met;
        assert_eq!(met(Target::AtMost(5.0), 5.0), Some(true));
        assert_eq!(met(Target::AtMost(5.0), 5.1), Some(false));
        assert_eq!(met(Target::AtLeast(5.0), 5.1), Some(true));
    }
}
