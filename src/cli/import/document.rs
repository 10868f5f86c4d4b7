//! The document that `apnsd export` prints, read again.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::Planned;
use crate::cli::export::VERSION;

#[derive(Deserialize)]
struct Head {
    apnsd: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "apnsd")]
    _version: u64,
    apps: Vec<App>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct App {
    app_id: String,
    environment: String,
    certificate: Option<String>,
    timeout: Option<f64>,
    #[serde(default)]
    options: Map<String, Json>,
    #[serde(default)]
    omitted: Vec<String>,
}

/// What a document says, or why it is none.
pub(super) fn read(text: &str) -> Result<Vec<Planned>, String> {
    let not_ours = |error| format!("this is not what `apnsd export` prints ({error}); for pyapns' files add --pyapns");
    match serde_json::from_str(text).map_err(not_ours)? {
        Head { apnsd: VERSION } => (),
        Head { apnsd } => {
            return Err(format!("this is from a newer apnsd (version {apnsd}, this one reads {VERSION})"));
        }
    }
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(document.apps.into_iter().map(planned).collect())
}

fn planned(app: App) -> Planned {
    let App { app_id, environment, certificate, timeout, options, omitted } = app;
    let certificate = match (certificate, omitted.as_slice()) {
        (Some(certificate), []) => Ok(certificate),
        (None, []) => Err("it has no certificate: write its path or its PEM text under \"certificate\"".to_owned()),
        (_, omitted) => Err(format!(
            "its {} was left out by the export: export again with --secrets, or add it with `apnsd provision`",
            omitted.join(" and ")
        )),
    };
    Planned { app_id, environment, certificate, timeout, options }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_taken_as_it_was_exported() {
        let text = r#"{"apnsd": 1, "apps": [{"app_id": "a", "environment": "sandbox", "certificate": "/a.pem",
            "timeout": 1.5, "options": {"priority": 5}}]}"#;
        let [app] = &*read(text).unwrap() else { panic!() };
        assert_eq!((&*app.app_id, &*app.environment), ("a", "sandbox"));
        assert_eq!((app.certificate.as_deref(), app.timeout), (Ok("/a.pem"), Some(1.5)));
        assert_eq!(app.options["priority"], 5);
    }

    #[test]
    fn what_was_left_out_is_told_with_what_to_do() {
        let text = r#"{"apnsd": 1, "apps": [{"app_id": "a", "environment": "sandbox", "omitted": ["certificate"]},
            {"app_id": "b", "environment": "sandbox", "certificate": "/b.p12", "omitted": ["passphrase"]},
            {"app_id": "c", "environment": "sandbox"}]}"#;
        let told: Vec<String> = read(text).unwrap().into_iter().map(|app| app.certificate.unwrap_err()).collect();
        let again = "was left out by the export: export again with --secrets, or add it with `apnsd provision`";
        assert_eq!(told[0], format!("its certificate {again}"));
        assert_eq!(told[1], format!("its passphrase {again}"));
        assert_eq!(told[2], "it has no certificate: write its path or its PEM text under \"certificate\"");
    }

    #[test]
    fn another_document_is_told_with_the_place() {
        let told = |text| read(text).err().unwrap();
        assert_eq!(told(r#"{"apnsd": 2, "others": []}"#), "this is from a newer apnsd (version 2, this one reads 1)");
        let pyapns = told(r#"{"port": 7077, "autoprovision": []}"#);
        assert!(
            pyapns.starts_with("this is not what `apnsd export` prints (missing field `apnsd` at line 1 "),
            "{pyapns}"
        );
        assert!(pyapns.ends_with("); for pyapns' files add --pyapns"), "{pyapns}");
        let app = told("{\"apnsd\": 1, \"apps\": [{\"app_id\": \"a\",\n\"cert\": \"/a.pem\"}]}");
        assert!(
            app.starts_with("unknown field `cert`, expected one of `app_id`, ") && app.ends_with("line 2 column 6"),
            "{app}"
        );
    }
}
