//! Metrics as text: OpenMetrics, and Prometheus' own older format for those who ask for that alone.

use std::fmt::{self, Write as _};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::catalogue::{Kind, Metric};
use crate::telemetry::metrics::histogram::Histogram;

/// The type of what [`open_metrics`] writes.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The type of what [`classic`] makes of it.
pub(super) const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a collector collects, in OpenMetrics 1.0.
pub(super) fn open_metrics(collector: impl Collector) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

/// Writes metrics one after the other.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

impl Families<'_> {
    /// Writes a metric, with the samples that `write` gives it.
    pub(super) fn metric(
        &mut self,
        metric: &Metric,
        write: impl FnOnce(&mut Samples<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let (name, unit) = base_name(metric);
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        };
        let encoder = self.0.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
        write(&mut Samples { encoder, labels: metric.labels })
    }
}

/// A name without what its kind and unit add to it, and that unit.
fn base_name(metric: &Metric) -> (&'static str, Option<Unit>) {
    let name = match metric.kind {
        Kind::Counter => metric.name.strip_suffix("_total"),
        Kind::Info => metric.name.strip_suffix("_info"),
        Kind::Gauge | Kind::Histogram => None,
    };
    let name = name.unwrap_or(metric.name);
    for (suffix, unit) in [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)] {
        if let Some(name) = name.strip_suffix(suffix) {
            return (name, Some(unit));
        }
    }
    (name, None)
}

/// Writes the samples of one metric. Each has a value for each of the metric's labels, in their order.
pub(super) struct Samples<'a> {
    encoder: MetricEncoder<'a>,
    labels: &'static [&'static str],
}

impl Samples<'_> {
    pub(super) fn counter(&mut self, values: &[&str], value: u64) -> fmt::Result {
        self.sample(values, |encoder| encoder.encode_counter::<NoLabelSet, _, u64>(&value, None))
    }

    /// A counter of seconds.
    pub(super) fn seconds(&mut self, value: f64) -> fmt::Result {
        self.sample(&[], |encoder| encoder.encode_counter::<NoLabelSet, _, u64>(&value, None))
    }

    pub(super) fn gauge(&mut self, values: &[&str], value: f64) -> fmt::Result {
        self.sample(values, |encoder| encoder.encode_gauge(&value))
    }

    pub(super) fn histogram(&mut self, values: &[&str], histogram: &Histogram) -> fmt::Result {
        let observed = histogram.observed();
        let (sum, count) = (observed.sum, observed.count());
        self.sample(values, |encoder| encoder.encode_histogram::<NoLabelSet>(sum, count, &observed.buckets, None))
    }

    pub(super) fn info(&mut self, values: &[&str]) -> fmt::Result {
        self.encoder.encode_info(&pairs(self.labels, values))
    }

    fn sample(&mut self, values: &[&str], write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result) -> fmt::Result {
        if values.is_empty() {
            return write(&mut self.encoder);
        }
        let labels = pairs(self.labels, values);
        write(&mut self.encoder.encode_family(&labels)?)
    }
}

fn pairs<'a>(labels: &'static [&'static str], values: &[&'a str]) -> Vec<(&'static str, &'a str)> {
    labels.iter().copied().zip(values.iter().copied()).collect()
}

/// The same in the format that was before OpenMetrics, for scrapers that know no other: there a counter has its whole
/// name everywhere, an info is a gauge, and neither units nor an end are told.
pub(super) fn classic(page: &str) -> String {
    let mut classic = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        // What cannot be written to a string does not exist.
        let _ = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(_), text) => {
                help = text;
                Ok(())
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                let help = help.take().unwrap_or_default();
                writeln!(classic, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}")
            }
            (Some("#"), ..) => Ok(()),
            _ => writeln!(classic, "{line}"),
        };
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_format_has_whole_names_and_neither_units_nor_an_end() {
        let page = "# HELP x_seconds Time of x.\n# TYPE x_seconds counter\n# UNIT x_seconds seconds\nx_seconds_total 1.5\n\
                    # HELP b The build.\n# TYPE b info\nb_info{v=\"# 1\"} 1\n# EOF\n";
        let expected = "# HELP x_seconds_total Time of x.\n# TYPE x_seconds_total counter\nx_seconds_total 1.5\n\
                        # HELP b_info The build.\n# TYPE b_info gauge\nb_info{v=\"# 1\"} 1\n";
        assert_eq!(classic(page), expected);
    }
}
