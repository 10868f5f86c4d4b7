//! How the fields of an event look in a line of text, on a terminal as in the journal: `app=shop rows=3 cause="no route"`.
//!
//! What callers and gateways made up ends where it seems to end: a value with a space, a quote, a `=` or anything that
//! cannot be seen is quoted and escaped, so that `a level=error` is no field of its own.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes fields as text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line { writer, begun: false, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'writer> {
    writer: Writer<'writer>,
    begun: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.result.is_ok() {
            self.result = self.try_put(field.name(), value);
        }
    }

    fn try_put(&mut self, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        if std::mem::replace(&mut self.begun, true) {
            self.writer.write_char(' ')?;
        }
        match self.writer.has_ansi_escapes() {
            _ if name == "message" => Ok(()),
            // Italic, and dimmed.
            true => write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m"),
            false => write!(self.writer, "{name}="),
        }?;
        self.writer.write_fmt(value)
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.put(field, format_args!("{}", Visible(value))),
            _ => self.put(field, format_args!("{value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.put(field, format_args!("{}", Visible(&text))),
            _ if is_plain(&text) => self.put(field, format_args!("{text}")),
            _ => self.put(field, format_args!("{text:?}")),
        }
    }
}

/// Whether a text ends at the next space, and is all that is seen of it.
fn is_plain(text: &str) -> bool {
    let is_plain = |character: char| character != '=' && !character.is_whitespace() && is_shown(character);
    !text.is_empty() && text.chars().all(|character| is_plain(character) && !['"', '\\'].contains(&character))
}

/// Whether a character is written as it is: no control of a terminal, nothing invisible, nothing that turns the line.
fn is_shown(character: char) -> bool {
    ['\'', '"', '\\'].contains(&character) || character.escape_debug().len() == 1
}

/// A message with escapes for what cannot be seen; its lines stay lines.
struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0.chars().try_for_each(|character| match character {
            '\n' | '\t' => formatter.write_char(character),
            _ if is_shown(character) => formatter.write_char(character),
            _ => write!(formatter, "{}", character.escape_debug()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Event, Subscriber, info};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<String>>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = self.0.lock().unwrap();
            TextFields.format_fields(Writer::new(&mut *line), event).unwrap();
        }
    }

    fn line(say: impl FnOnce()) -> String {
        let lines = Lines::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), say);
        std::mem::take(&mut *lines.0.lock().unwrap())
    }

    #[test]
    fn values_without_spaces_are_written_as_they_are() {
        let said = line(
            || info!(app = %"l'été.2", rows = 3, why = "closed", after = ?std::time::Duration::from_secs(1), "done: {}", "a=b"),
        );
        assert_eq!(said, "done: a=b app=l'été.2 rows=3 why=\"closed\" after=1s");
    }

    #[test]
    fn a_value_forges_no_field() {
        for (app, written) in [
            ("a app=victim level=error", r#""a app=victim level=error""#),
            (r#"a" level="error"#, r#""a\" level=\"error""#),
            (r#""a""#, r#""\"a\"""#),
            ("a=b", r#""a=b""#),
            ("", r#""""#),
            ("\u{202e}exe", r#""\u{202e}exe""#),
            ("a\u{2028}b", r#""a\u{2028}b""#),
            ("\u{feff}", r#""\u{feff}""#),
            ("\x1b[2J", r#""\u{1b}[2J""#),
        ] {
            assert_eq!(line(|| info!(app = %app, "news")), format!("news app={written}"));
        }
    }

    #[test]
    fn a_message_controls_no_terminal_and_keeps_its_lines() {
        let said = line(|| info!("said: {}", "\x1b[2J\u{202e}\u{9b}1 \"x\" \\\n\tit's"));
        assert_eq!(said, "said: \\u{1b}[2J\\u{202e}\\u{9b}1 \"x\" \\\n\tit's");
    }
}
