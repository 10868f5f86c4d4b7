//! Values as people and scripts read them: tables and JSON. Knows nothing of what the members mean.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use comfy_table::{CellAlignment, Table, presets};
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json};

use super::output::printable;
use crate::domain::time::Timestamp;
use crate::xmlrpc::value::Value;

/// A value as indented JSON with a line end. Dates are RFC 3339 in UTC, binary data is base64.
pub(super) fn json(value: &Value<'_>) -> String {
    format!("{:#}\n", to_json(value))
}

fn to_json(value: &Value<'_>) -> Json {
    match value {
        Value::Int(number) => (*number).into(),
        Value::Boolean(truth) => (*truth).into(),
        Value::Double(number) => (*number).into(),
        Value::String(text) => text.as_ref().into(),
        Value::DateTime(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into(),
        Value::Base64(bytes) => STANDARD.encode(bytes).into(),
        Value::Nil => Json::Null,
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Struct(members) => {
            members.iter().map(|(name, value)| (name.to_string(), to_json(value))).collect::<Map<_, _>>().into()
        }
    }
}

/// A moment as a date, in UTC.
pub(super) fn civil(moment: Timestamp) -> jiff::civil::DateTime {
    let time = jiff::Timestamp::from_millisecond(moment.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    TimeZone::UTC.to_datetime(time)
}

/// Which members of the structs become columns.
pub(super) struct Columns {
    /// These come first, in this order.
    pub(super) first: &'static [&'static str],
    /// Heads of columns that are not called as their member: member and head.
    pub(super) renamed: &'static [(&'static str, &'static str)],
    /// These are left out; any other follows in the order of the answer.
    pub(super) hidden: &'static [&'static str],
}

/// An array of structs as a table with a head; columns that are empty in every row are left out.
pub(super) fn table(rows: &[Value<'_>], columns: &Columns) -> String {
    let mut names: Vec<&str> = columns.first.to_vec();
    for (name, _) in rows.iter().flat_map(members) {
        if !names.contains(&name.as_ref()) && !columns.hidden.contains(&name.as_ref()) {
            names.push(name);
        }
    }
    names.retain(|name| rows.iter().any(|row| !cell(member(row, name)).is_empty()));
    let head = names.iter().map(|name| {
        let renamed = columns.renamed.iter().find(|(member, _)| member == name);
        renamed.map_or_else(|| name.replace('_', " ").to_uppercase(), |(_, head)| (*head).to_owned())
    });
    let mut table = borderless();
    table.set_header(head);
    table.add_rows(rows.iter().map(|row| names.iter().map(|name| cell(member(row, name))).collect::<Vec<_>>()));
    for (at, name) in names.iter().enumerate() {
        let is_number = |row| matches!(member(row, name), Some(Value::Int(_) | Value::Double(_)) | None);
        if let Some(column) = table.column_mut(at).filter(|_| rows.iter().all(is_number)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    finish(&mut table)
}

/// A struct as one line a member, with what is to be said of it after its content; members without content are left out.
pub(super) fn sheet(value: &Value<'_>, remark: impl Fn(&str) -> &'static str) -> String {
    let mut table = borderless();
    for (name, value) in members(value) {
        let content = cell(Some(value));
        if !content.is_empty() {
            table.add_row([name.replace('_', " "), content + remark(name)]);
        }
    }
    finish(&mut table)
}

fn borderless() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// Two spaces between columns, none at the ends of the lines.
fn finish(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt() + "\n"
}

/// The members of a struct; none of anything else.
fn members<'a, 'b>(value: &'a Value<'b>) -> &'a [(std::borrow::Cow<'b, str>, Value<'b>)] {
    match value {
        Value::Struct(members) => members,
        Value::Int(_) | Value::Boolean(_) | Value::Double(_) | Value::String(_) => &[],
        Value::DateTime(_) | Value::Base64(_) | Value::Nil | Value::Array(_) => &[],
    }
}

/// A member of a struct.
pub(super) fn member<'a, 'b>(value: &'a Value<'b>, name: &str) -> Option<&'a Value<'b>> {
    members(value).iter().find(|(member, _)| member == name).map(|(_, value)| value)
}

/// The items of an array; none of anything else.
pub(super) fn items<'a, 'b>(value: &'a Value<'b>) -> &'a [Value<'b>] {
    match value {
        Value::Array(items) => items,
        Value::Int(_) | Value::Boolean(_) | Value::Double(_) | Value::String(_) => &[],
        Value::DateTime(_) | Value::Base64(_) | Value::Nil | Value::Struct(_) => &[],
    }
}

/// A value in one line.
pub(super) fn cell(value: Option<&Value<'_>>) -> String {
    match value {
        None | Some(Value::Nil) => String::new(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Boolean(truth)) => if *truth { "yes" } else { "no" }.to_owned(),
        Some(Value::Double(number)) => number.to_string(),
        Some(Value::String(text)) => printable(text),
        Some(Value::DateTime(time)) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
        Some(Value::Struct(members)) => {
            let members = members.iter().map(|(name, value)| format!("{} {}", printable(name), cell(Some(value))));
            members.collect::<Vec<_>>().join(", ")
        }
        Some(value @ Value::Base64(_)) => printable(&to_json(value).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &'static str, waiting: i64, cause: &'static str) -> Value<'static> {
        let members = [("state", Value::string("idle")), ("app_id", Value::string(name)), ("gateway", Value::Nil)];
        let more = [("waiting", Value::Int(waiting)), ("cause", Value::string(cause))];
        Value::Struct(members.into_iter().chain(more).map(|(name, value)| (name.into(), value)).collect())
    }

    const COLUMNS: Columns = Columns { first: &["app_id", "absent"], renamed: &[], hidden: &["state"] };

    #[test]
    fn a_table_has_the_named_columns_first_and_no_empty_ones() {
        let rows = [app("one", 7, ""), app("another", 1_000_000, "")];
        let expected = "\
            APP ID   WAITING\n\
            one            7\n\
            another  1000000\n";
        assert_eq!(table(&rows, &COLUMNS), expected);
        let rows = [app("one", 7, "certificate\nexpired")];
        let expected = "\
            APP ID  WAITING  CAUSE\n\
            one           7  certificate expired\n";
        assert_eq!(table(&rows, &COLUMNS), expected);
    }

    #[test]
    fn a_sheet_has_a_line_for_each_member_with_content() {
        let remark = |name: &str| if name == "waiting" { " (now)" } else { "" };
        assert_eq!(sheet(&app("one", 7, ""), remark), "state    idle\napp id   one\nwaiting  7 (now)\n");
    }

    #[test]
    fn every_type_has_a_cell_and_a_json_form() {
        let time = jiff::civil::date(2011, 3, 13).at(7, 6, 40, 0);
        for (value, shown, json) in [
            (Value::Int(-7), "-7", "-7"),
            (Value::Boolean(true), "yes", "true"),
            (Value::Double(1.5), "1.5", "1.5"),
            (Value::string("a\u{1b}[1m"), "a [1m", "\"a\\u001b[1m\""),
            (Value::DateTime(time), "2011-03-13 07:06:40 UTC", "\"2011-03-13T07:06:40Z\""),
            (Value::Base64(vec![0xff]), "\"/w==\"", "\"/w==\""),
            (Value::Nil, "", "null"),
            (Value::Array(vec![Value::Int(1), Value::Int(2)]), "1, 2", "[1,2]"),
            (
                Value::structure(vec![("b".into(), Value::Int(1)), ("a".into(), Value::Int(2))]),
                "b 1, a 2",
                r#"{"b":1,"a":2}"#,
            ),
        ] {
            assert_eq!(cell(Some(&value)), shown);
            assert_eq!(to_json(&value).to_string(), json);
        }
    }
}
