//! A report as text: where it was measured, a line a figure, what should not be overlooked.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::report::{Figure, Report, Target, Unit};

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            formatter,
            "apnsd {} ({}), {} cores ({}), {:.0} GB, Linux {}, state on {}, load {:.2}\n",
            machine.version,
            machine.profile,
            machine.cores,
            machine.processor,
            machine.memory as f64 / 1e9,
            machine.kernel,
            machine.file_system,
            machine.load
        )?;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["figure", "what", "value", "target", "", "of limit", "ratio"]);
        for figure in &self.figures {
            table.add_row(cells(figure));
        }
        for column in [2, 3, 6] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(formatter, "{}", table.trim_fmt())?;
        for skipped in &self.skipped {
            writeln!(formatter, "\nnot measured: {}: {}", skipped.scenario, skipped.reason)?;
        }
        for warning in &self.warnings {
            writeln!(formatter, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

fn cells(figure: &Figure) -> [String; 7] {
    let target = figure.target.map_or_else(String::new, |target| match target {
        Target::AtLeast(value) => format!("≥ {}", with_unit(value, figure.unit)),
        Target::AtMost(value) => format!("≤ {}", with_unit(value, figure.unit)),
    });
    let met = figure.met.map_or("", |met| if met { "met" } else { "missed" });
    let (limit, ratio) =
        figure.limit.as_ref().map_or_else(Default::default, |limit| (limit.key.clone(), format!("{:.3}", limit.ratio)));
    let value = with_unit(figure.value, figure.unit);
    [figure.key.clone(), figure.what.clone(), value, target, met.to_owned(), limit, ratio]
}

fn with_unit(value: f64, unit: Unit) -> String {
    let unit = match unit {
        Unit::PerSecond => return format!("{} /s", grouped(value)),
        Unit::Ratio => return format!("{value:.2}"),
        Unit::Milliseconds => "ms",
        Unit::Microseconds => "us",
        Unit::Seconds => "s",
        Unit::Megabytes => "MB",
        Unit::Kilobytes => "kB",
    };
    match value {
        large if large >= 100.0 => format!("{large:.0} {unit}"),
        medium if medium >= 10.0 => format!("{medium:.1} {unit}"),
        small => format!("{small:.2} {unit}"),
    }
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_readable() {
        assert_eq!(with_unit(1_234_567.4, Unit::PerSecond), "1,234,567 /s");
        assert_eq!(with_unit(999.0, Unit::PerSecond), "999 /s");
        assert_eq!(with_unit(0.4567, Unit::Milliseconds), "0.46 ms");
        assert_eq!(with_unit(45.67, Unit::Megabytes), "45.7 MB");
        assert_eq!(with_unit(4567.0, Unit::Kilobytes), "4567 kB");
    }

    #[test]
    fn a_line_has_the_target_and_the_share_of_the_limit() {
        let figure = Figure::new("calls.8.rate", "calls", 10_000.0, Unit::PerSecond)
            .wanted(Target::AtLeast(20_000.0))
            .of("limit.http.8".to_owned(), 40_000.0);
        assert_eq!(
            cells(&figure),
            ["calls.8.rate", "calls", "10,000 /s", "≥ 20,000 /s", "missed", "limit.http.8", "0.250"]
        );
    }
}
