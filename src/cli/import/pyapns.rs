//! Apps as pyapns and the tools around it configured them: the JSON file of its .tac script with its list
//! `autoprovision` and perhaps a directory `apps_path`, or such a directory, with one JSON file an app.
//!
//! An app is `{"app_id", "cert", "environment", "timeout"}`. pyapns looked for relative paths from the directory that it
//! was started in, which no file tells; here they begin at the directory of the file that has them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::Planned;
use crate::cli::provision::certificate_text;

/// How certificates that are files reach the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// They are read here.
    Read,
    /// The daemon reads them, under their absolute paths.
    Name,
}

/// The apps of a file or directory, in the order in which pyapns provisioned them. Of two with the same name it used
/// the first, so the others are left out.
pub(super) fn read(path: &Path, files: Files) -> Result<Vec<Planned>, String> {
    let path = std::path::absolute(path).map_err(|error| problem(path, &error))?;
    let mut apps = match path.is_dir() {
        true => directory(&path, files)?,
        false => file(&path, files)?,
    };
    let mut names = Vec::new();
    apps.retain(|app: &Planned| {
        let is_first = !names.contains(&app.app_id);
        names.push(app.app_id.clone());
        is_first
    });
    Ok(apps)
}

fn directory(path: &Path, files: Files) -> Result<Vec<Planned>, String> {
    let mut apps = Vec::new();
    for file in files_in(path).map_err(|error| problem(path, &error))? {
        let name = || file.display().to_string();
        apps.push(match object(&file) {
            Ok(app) => planned(&app, &name(), &file, files),
            Err(problem) => bad(name(), problem),
        });
    }
    match apps.is_empty() {
        true => Err(format!("there is no *.json file in {}: it needs one for each app", path.display())),
        false => Ok(apps),
    }
}

/// Regular files `*.json`, hidden ones left out, by name.
fn files_in(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        if is_json && path.is_file() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn file(path: &Path, files: Files) -> Result<Vec<Planned>, String> {
    let config = object(path)?;
    if config.contains_key("app_id") {
        return Ok(vec![planned(&config, &path.display().to_string(), path, files)]);
    }
    let (listed, apps_path) = (config.get("autoprovision"), config.get("apps_path"));
    if listed.is_none() && apps_path.is_none() {
        return Err(format!(
            "{} has neither `autoprovision` nor `apps_path`: it is no configuration of pyapns that provisions apps",
            path.display()
        ));
    }
    let mut apps = Vec::new();
    for (at, app) in (0..).zip(listed.and_then(Json::as_array).into_iter().flatten()) {
        let name = format!("autoprovision[{at}]");
        apps.push(match app {
            Json::Object(app) => planned(app, &name, path, files),
            _ => bad(name, no_app(path)),
        });
    }
    if let Some(dir) = apps_path.and_then(Json::as_str) {
        apps.extend(directory(&beside(path, dir), files)?);
    }
    Ok(apps)
}

fn object(path: &Path) -> Result<Map<String, Json>, String> {
    let text = fs::read_to_string(path).map_err(|error| problem(path, &error))?;
    serde_json::from_str(&text).map_err(|error| {
        let expected = "name the JSON file of pyapns' .tac script, or a directory with one JSON file an app";
        problem(path, &format!("this is no JSON object ({error}): {expected}"))
    })
}

/// What cannot be an app, and why.
fn bad(name: String, problem: String) -> Planned {
    let environment = String::new();
    Planned { app_id: name, environment, certificate: Err(problem), timeout: None, options: Map::new() }
}

/// An app of a file, called by its place where it has no id.
fn planned(app: &Map<String, Json>, place: &str, file: &Path, files: Files) -> Planned {
    let text = |key: &str| app.get(key).and_then(Json::as_str).map(str::to_owned);
    let number = |key: &str| app.get(key).and_then(Json::as_i64).map(|number| number.to_string());
    let app_id = text("app_id").or_else(|| number("app_id"));
    let (Some(app_id), Some(environment)) = (app_id.clone(), text("environment")) else {
        return bad(app_id.unwrap_or_else(|| place.to_owned()), no_app(file));
    };
    let certificate = match text("cert") {
        None => Err(format!("{} gives it no `cert`", file.display())),
        Some(pem) if pem.contains("BEGIN CERTIFICATE") => Ok(pem),
        Some(cert) => match (files, beside(file, &cert)) {
            (Files::Name, path) => Ok(path.display().to_string()),
            (Files::Read, path) if Path::new(&cert).is_absolute() => certificate_text(&path),
            (Files::Read, path) => certificate_text(&path).map_err(|problem| {
                format!("{problem}; `{cert}` is taken from the directory of {}: write the whole path", file.display())
            }),
        },
    };
    let timeout = app.get("timeout").and_then(Json::as_f64);
    Planned { app_id, environment, certificate, timeout, options: Map::new() }
}

fn no_app(file: &Path) -> String {
    format!("{}: an app needs `app_id`, `cert`, `environment` and `timeout`", file.display())
}

/// A path, a relative one from the directory of the file that has it.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).join(path)
}

fn problem(path: &Path, cause: &dyn std::fmt::Display) -> String {
    format!("{}: {cause}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn named(path: &Path) -> Vec<(String, String)> {
        let apps = read(path, Files::Name).unwrap();
        apps.into_iter().map(|app| (app.app_id, app.certificate.unwrap())).collect()
    }

    fn pair(app: &str, path: &Path) -> (String, String) {
        (app.to_owned(), path.display().to_string())
    }

    #[test]
    fn the_list_comes_before_the_directory_and_the_first_of_a_name_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (config, one) = (dir.path().join("etc/pyapns.json"), dir.path().join("etc/apps/one.json"));
        write(
            &config,
            r#"{"port": 7077, "apps_path": "apps", "autoprovision": [
                {"app_id": "two", "cert": "/srv/two.pem", "environment": "sandbox", "timeout": 15}]}"#,
        );
        write(&one, r#"{"app_id": "one", "cert": "one.pem", "environment": "sandbox", "timeout": 15}"#);
        let again = r#"{"app_id": "two", "cert": "other.pem", "environment": "sandbox", "timeout": 15}"#;
        write(&dir.path().join("etc/apps/two.json"), again);
        for other in [".one.json.swp", ".two.json", "README", "one.pem"] {
            write(&dir.path().join("etc/apps").join(other), "");
        }
        let path = dir.path().join("etc/apps/one.pem");
        assert_eq!(named(&config), [pair("two", Path::new("/srv/two.pem")), pair("one", &path)]);
        assert_eq!(named(&one), [pair("one", &path)]);
        let apps = dir.path().join("etc/apps");
        assert_eq!(named(&apps), [pair("one", &path), pair("two", &apps.join("other.pem"))]);
    }

    #[test]
    fn an_app_is_taken_as_pyapns_took_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.json");
        let pem = "-----BEGIN CERTIFICATE-----";
        write(&file, &format!(r#"{{"app_id": 7, "cert": "{pem}", "environment": "sandbox", "timeout": 20, "x": 1}}"#));
        let [app] = &*read(&file, Files::Read).unwrap() else { panic!() };
        assert_eq!((&*app.app_id, &*app.environment, app.timeout), ("7", "sandbox", Some(20.0)));
        assert_eq!(app.certificate.as_deref(), Ok(pem));
    }

    #[test]
    fn a_relative_path_that_leads_nowhere_says_where_it_began() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.json");
        write(&file, r#"{"app_id": "a", "cert": "nosuch.pem", "environment": "sandbox"}"#);
        let [app] = &*read(&file, Files::Read).unwrap() else { panic!() };
        let problem = app.certificate.as_ref().unwrap_err();
        let cure = format!("; `nosuch.pem` is taken from the directory of {}: write the whole path", file.display());
        assert!(problem.contains("nosuch.pem") && problem.ends_with(&cure), "{problem}");
        write(&file, r#"{"app_id": "a", "environment": "sandbox"}"#);
        let [app] = &*read(&file, Files::Read).unwrap() else { panic!() };
        assert_eq!(app.certificate, Err(format!("{} gives it no `cert`", file.display())));
    }

    #[test]
    fn a_bad_entry_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let told = |path: &Path| -> Vec<(String, Result<String, String>)> {
            let shown = |text: String| text.replace(&dir.path().display().to_string(), "DIR");
            let apps = read(path, Files::Name).unwrap().into_iter();
            apps.map(|app| (shown(app.app_id), app.certificate.map_err(shown))).collect()
        };
        let lacks = |file: &str| Err(format!("DIR/{file}: an app needs `app_id`, `cert`, `environment` and `timeout`"));
        let good = r#"{"app_id": "c", "cert": "/c.pem", "environment": "sandbox"}"#;
        let config = dir.path().join("pyapns.json");
        write(&config, &format!(r#"{{"autoprovision": [{{"app_id": "a"}}, "b", {good}]}}"#));
        let found = told(&config);
        assert_eq!(found[0], ("a".to_owned(), lacks("pyapns.json")));
        assert_eq!(found[1], ("autoprovision[1]".to_owned(), lacks("pyapns.json")));
        assert_eq!(found[2], ("c".to_owned(), Ok("/c.pem".to_owned())));
        let apps = dir.path().join("apps");
        write(&apps.join("1.json"), "x");
        write(&apps.join("2.json"), "{}");
        write(&apps.join("3.json"), good);
        let found = told(&apps);
        assert_eq!(found[0].0, "DIR/apps/1.json");
        assert!(found[0].1.as_ref().is_err_and(|told| told.starts_with("DIR/apps/1.json: this is no JSON object (")));
        assert_eq!(found[1], ("DIR/apps/2.json".to_owned(), lacks("apps/2.json")));
        assert_eq!(found[2], ("c".to_owned(), Ok("/c.pem".to_owned())));
    }

    #[test]
    fn what_is_no_configuration_is_told_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pyapns.json");
        let told = |text: &str| {
            write(&file, text);
            read(&file, Files::Name).err().unwrap().replace(&file.display().to_string(), "FILE")
        };
        let expected = "FILE: this is no JSON object (expected value at line 1 column 1): name the JSON file of pyapns' \
            .tac script, or a directory with one JSON file an app";
        assert_eq!(told("x"), expected);
        assert!(told("[]").starts_with("FILE: this is no JSON object (invalid type: sequence, "));
        let neither = "FILE has neither `autoprovision` nor `apps_path`: it is no configuration of pyapns that \
            provisions apps";
        assert_eq!(told(r#"{"port": 7077}"#), neither);
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let told = read(&empty, Files::Name).err().unwrap();
        assert_eq!(told, format!("there is no *.json file in {}: it needs one for each app", empty.display()));
    }
}
