//! The bar of a long list, on standard error and only where that is a terminal.

use std::fmt;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A list that fits into so many calls is done before anybody looks.
const CALLS_WITHOUT: u64 = 2;

/// A bar for so many tokens; a count alone where their number is not known.
pub(super) fn bar(total: Option<u64>, is_shown: bool) -> ProgressBar {
    let is_long = total.is_none_or(|total| total > CALLS_WITHOUT * super::long::PART as u64);
    if !is_shown || !is_long {
        return ProgressBar::hidden();
    }
    let template = match total {
        Some(_) => "{bar:30} {human_pos} of {human_len} accepted, {rate} a second, {eta} left",
        None => "{human_pos} accepted, {rate} a second",
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate);
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style)
}

/// Whole notifications in a second.
fn rate(state: &ProgressState, to: &mut dyn fmt::Write) {
    // Where it cannot be written there is no bar.
    let _ = write!(to, "{:.0}", state.per_sec());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_right_and_a_short_list_has_no_bar() {
        for template in [
            "{bar:30} {human_pos} of {human_len} accepted, {rate} a second, {eta} left",
            "{human_pos} accepted, {rate} a second",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
        assert!(bar(Some(20_000), true).is_hidden());
        assert!(bar(Some(1_000_000), false).is_hidden());
    }
}
