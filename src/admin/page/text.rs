//! The page for those who do not read HTML: `curl http://127.0.0.1:7077/`.

use comfy_table::{Table, presets};

use super::View;
use super::view::{AppView, RejectionView};
use super::words::several;

pub(super) fn text(view: &View) -> String {
    let mut text = format!("{} ({} UTC)\n", view.verdict.word, view.at);
    if !view.verdict.detail.is_empty() {
        text += &format!("{}\n", view.verdict.detail);
    }
    if view.apps.is_empty() && view.known > 0 {
        text += &format!("\nnone of {} was asked for\n", several(view.known, "app"));
    }
    if !view.apps.is_empty() {
        let head = ["APP", "ENVIRONMENT", "STATE", "WAITING", "DELIVERED", "REJECTED", "RATE", "CREDENTIALS"];
        text += &format!("\n{}", table(head, view.apps.iter().map(app)));
    }
    if view.left_out > 0 {
        let (more, all) = (several(view.left_out, "app"), view.selection.all());
        text += &format!("and {more} more: `apnsd apps` and /{all} list all\n");
    }
    for app in &view.apps {
        for (heading, note) in &app.notes {
            text += &format!("\n{}: {heading}: {note}\n", app.id);
        }
    }
    if let Some(rejections) = view.rejections.as_ref().filter(|rejections| !rejections.is_empty()) {
        let head = ["REJECTED (UTC)", "APP", "TOKEN", "REASON", "TO BLAME"];
        text += &format!("\n{}", table(head, rejections.iter().map(rejection)));
    }
    text += &format!("\nVersion: {}\n", view.version);
    for (name, fact) in &view.facts {
        text += &format!("{name}: {fact}\n");
    }
    text
}

fn app(app: &AppView) -> [&str; 8] {
    let AppView { id, environment, state, waiting, delivered, rejected, chart, credentials, .. } = app;
    [id, environment, &state.word, waiting, delivered, rejected, &chart.rate, &credentials.word]
}

fn rejection(rejection: &RejectionView) -> [&str; 5] {
    let RejectionView { at, app, token, reason, blame } = rejection;
    [at, app, token, reason, blame]
}

/// Two spaces between columns, none at the ends of the lines.
fn table<'a, const COLUMNS: usize>(head: [&'a str; COLUMNS], rows: impl Iterator<Item = [&'a str; COLUMNS]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt() + "\n"
}
