//! `export`: what the apps were provisioned with, as JSON.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use super::check_config::{ConfigFile, refuse};
use super::exit::{Exit, Failure};
use super::output::{complain, print};
use crate::credentials::source;
use crate::service::export::{self, ExportError, Exported, Secrets, Unreadable};
use crate::service::request::{PerRow, ProvisionOptions};

/// The version of the document, under the key `apnsd`.
pub(super) const VERSION: u64 = 1;

/// Print the provisioned apps as JSON, for `apnsd import`
///
/// Reads the state directory itself, whether a daemon runs on it or not, and changes nothing: who may read its files
/// may see what is in them. Certificates that were passed as text, and passphrases, are left out and named under
/// "omitted" unless --secrets is given; those passed as a path are told by their path.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd export --config /etc/apnsd/apnsd.toml\n  \
    apnsd export myapp --secrets --state-dir /var/lib/apnsd\n\n\
    Sealed secrets need CREDENTIALS_DIRECTORY to name the directory with apnsd-key.")]
pub(super) struct Export {
    /// Only these apps
    #[arg(value_name = "APP")]
    apps: Vec<String>,
    /// The state directory; else the one that the configuration names
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// With private keys and passphrases
    #[arg(long)]
    secrets: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// Prints the apps. Those that cannot be read are named on standard error and make it fail in the end.
pub(super) fn run(args: &Export) -> Result<(), Failure> {
    let dir = match &args.state_dir {
        Some(dir) => dir.clone(),
        None => args.file.load().map_err(|refused| refuse(&refused))?.0.state_dir,
    };
    let secrets = if args.secrets { Secrets::Include } else { Secrets::Omit };
    let stored = export::export(&dir, secrets).map_err(|error| failure(&error))?;
    let (mut apps, mut unreadable) = (Vec::new(), 0);
    for app in chosen(&args.apps, stored)? {
        match app {
            Ok(app) => apps.push(app),
            Err(Unreadable { app_id, cause }) => {
                complain(&format!("{app_id} is left out: {cause}"));
                unreadable += 1;
            }
        }
    }
    print(&format!("{:#}\n", document(&apps)))?;
    if args.secrets && apps.iter().any(has_secrets) {
        complain("warning: this has private keys or passphrases in it: let nobody else read it");
    }
    match unreadable {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Failed, format!("{count} of the apps could not be read"))),
    }
}

fn failure(error: &ExportError) -> Failure {
    let (exit, cure) = match error {
        ExportError::Missing(_) => {
            (Exit::Failed, ": name the daemon's state directory with --state-dir, or its configuration with --config")
        }
        ExportError::Forbidden(_) => (Exit::Failed, ": run this as the daemon's user"),
        ExportError::Store(error) => (error.into(), ""),
    };
    Failure::new(exit, format!("{error}{cure}"))
}

type Stored = Result<Exported, Unreadable>;

/// Those that were asked for: all where none is named.
fn chosen(names: &[String], stored: Vec<Stored>) -> Result<Vec<Stored>, Failure> {
    let name_of = |app: &Stored| match app {
        Ok(app) => app.app_id.to_string(),
        Err(unreadable) => unreadable.app_id.to_string(),
    };
    let there: Vec<String> = stored.iter().map(name_of).collect();
    if let Some(missing) = names.iter().find(|name| !there.contains(name)) {
        let message = match there.is_empty() {
            true => format!("there is no app `{missing}`: nothing is provisioned"),
            false => format!("there is no app `{missing}`; provisioned are: {}", there.join(", ")),
        };
        return Err(Failure::new(Exit::Failed, message));
    }
    Ok(stored.into_iter().filter(|app| names.is_empty() || names.contains(&name_of(app))).collect())
}

/// Whether it has what nobody else should see.
fn has_secrets(app: &Exported) -> bool {
    let is_text = |certificate: &String| source::path(certificate).is_none();
    app.certificate.as_ref().is_some_and(is_text) || app.options.passphrase.is_some()
}

fn document(apps: &[Exported]) -> Json {
    json!({"apnsd": VERSION, "apps": apps.iter().map(app_object).collect::<Vec<_>>()})
}

fn app_object(app: &Exported) -> Json {
    let members = [
        ("app_id", Some(app.app_id.as_str().into())),
        ("environment", Some(app.environment.as_ref().into())),
        ("certificate", app.certificate.as_deref().map(Json::from)),
        ("timeout", app.timeout.map(seconds)),
        (
            "options",
            Some(options(&app.options)).filter(|options| options.as_object().is_some_and(|map| !map.is_empty())),
        ),
        ("omitted", (!app.omitted.is_empty()).then(|| app.omitted.as_slice().into())),
    ];
    object(members)
}

/// As `provision` takes them.
fn options(options: &ProvisionOptions) -> Json {
    let ProvisionOptions { topic, key_id, team_id, passphrase, passphrase_file: _, connections, force: _, notify } =
        options;
    let text = |text: &Option<String>| text.as_deref().map(Json::from);
    object([
        ("topic", text(topic)),
        ("key_id", text(key_id)),
        ("team_id", text(team_id)),
        ("passphrase", text(passphrase)),
        ("connections", connections.map(Json::from)),
        ("expiration", default(&notify.expiration, |value| (*value).into())),
        ("priority", default(&notify.priority, |value| (*value).into())),
        ("collapse_id", default(&notify.collapse_id, |text| text.as_ref().into())),
        ("push_type", default(&notify.push_type, |text| text.as_ref().into())),
    ])
}

fn default<T>(value: &PerRow<T>, json: impl Fn(&T) -> Json) -> Option<Json> {
    match value {
        PerRow::All(value) => Some(json(value)),
        // One for each row of a call is nothing that an app could have.
        PerRow::Absent | PerRow::Each(_) => None,
    }
}

/// Whole seconds as an integer.
fn seconds(span: Duration) -> Json {
    match span.subsec_nanos() {
        0 => span.as_secs().into(),
        _ => span.as_secs_f64().into(),
    }
}

fn object<const N: usize>(members: [(&str, Option<Json>); N]) -> Json {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Json::Object(given.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::AppId;
    use crate::service::request::NotifyOptions;

    fn app(id: &str) -> Exported {
        Exported {
            app_id: AppId::parse(id).unwrap(),
            environment: "sandbox".into(),
            certificate: Some("/etc/apnsd/certs/a.pem".into()),
            timeout: None,
            options: ProvisionOptions::default(),
            omitted: Vec::new(),
        }
    }

    #[test]
    fn the_document_has_what_there_is_and_names_what_is_left_out() {
        let notify = NotifyOptions { priority: PerRow::All(5), ..NotifyOptions::default() };
        let options = ProvisionOptions { topic: Some("com.example".into()), notify, ..ProvisionOptions::default() };
        let full = Exported {
            certificate: None,
            timeout: Some(Duration::from_millis(1_500)),
            options,
            omitted: vec!["certificate", "passphrase"],
            ..app("b")
        };
        let expected = r#"{"apnsd":1,"apps":[
            {"app_id":"a","environment":"sandbox","certificate":"/etc/apnsd/certs/a.pem","timeout":15},
            {"app_id":"b","environment":"sandbox","timeout":1.5,"options":{"topic":"com.example","priority":5},
             "omitted":["certificate","passphrase"]}]}"#;
        let expected: String = expected.lines().map(str::trim_start).collect();
        let plain = Exported { timeout: Some(Duration::from_secs(15)), ..app("a") };
        assert_eq!(document(&[plain, full]).to_string(), expected);
    }

    #[test]
    fn a_path_is_no_secret_and_a_text_or_passphrase_is() {
        assert!(!has_secrets(&app("a")));
        assert!(has_secrets(&Exported { certificate: Some("-----BEGIN CERTIFICATE-----".into()), ..app("a") }));
        let options = ProvisionOptions { passphrase: Some("word".into()), ..ProvisionOptions::default() };
        assert!(has_secrets(&Exported { options, ..app("a") }));
    }

    #[test]
    fn apps_are_chosen_by_name_and_an_unknown_one_is_told_with_the_known_ones() {
        let stored = || vec![Ok(app("a")), Ok(app("b"))];
        assert_eq!(chosen(&[], stored()).unwrap().len(), 2);
        assert_eq!(chosen(&["b".to_owned()], stored()).unwrap(), [Ok(app("b"))]);
        let told = |stored| chosen(&["c".to_owned()], stored).unwrap_err().message;
        assert_eq!(told(stored()), "there is no app `c`; provisioned are: a, b");
        assert_eq!(told(Vec::new()), "there is no app `c`: nothing is provisioned");
    }
}
