//! `token`: what goes into the configuration, and what does not.

use std::fs;

use crate::shell::{apnsd, stderr, stdout};

#[test]
fn a_new_token_and_its_section_fit_together() {
    let made = apnsd(&["token", "create", "shop", "--app", "sh\"op", "--method", "notify"]).output().unwrap();
    assert!(made.status.success());
    let (section, told) = (stdout(&made), stderr(&made));
    assert!(section.starts_with("\n[[user]]\nname = \"shop\"\ntoken = \"sha256:"), "{section}");
    assert!(section.ends_with("methods = [\"notify\"]\n"), "{section}");
    assert!(!section.contains("apnsd_") && told.contains("http://shop:apnsd_"), "{told}");

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("listen = [\"0.0.0.0:7077\"]\n{section}")).unwrap();
    let checked = apnsd(&["check-config", "--config"]).arg(file.path()).output().unwrap();
    assert_eq!(stdout(&checked), "no problems\n");
}

#[test]
fn a_new_token_is_for_the_address_of_the_configuration_and_for_a_name_that_is_free() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let made = |listen: &str, name: &str| {
        let hash = "0".repeat(64);
        let user = format!("[[user]]\nname = \"shop\"\ntoken = \"sha256:{hash}\"\n");
        fs::write(file.path(), format!("listen = [{listen}]\n{user}")).unwrap();
        apnsd(&["token", "create", name, "--config"]).arg(file.path()).output().unwrap()
    };
    for (listen, url) in [
        ("\"unix:/run/x.sock\", \"10.0.0.1:8077\"", "@10.0.0.1:8077/\n"),
        ("\"tls:[::1]:7443\"", "@[::1]:7443/\n"),
        ("\"0.0.0.0:7077\"", "@HOST:7077/\n"),
        ("\"unix:/run/x.sock\"", "over a unix socket no token is asked for\n"),
    ] {
        let made = made(listen, "web");
        let (section, told) = (stdout(&made), stderr(&made));
        assert!(section.starts_with("\n[[user]]\nname = \"web\"\n") && told.contains(url), "{section}{told}");
        assert_eq!(told.contains("https://web:apnsd_"), listen.contains("tls:"), "{told}");
    }
    let refused = made("\"127.0.0.1:7077\"", "shop");
    assert_eq!((refused.status.code(), stdout(&refused)), (Some(1), ""));
    assert!(stderr(&refused).contains("there is a user `shop` already: take another name"), "{}", stderr(&refused));
}

#[test]
fn what_the_configuration_would_refuse_is_refused_at_once() {
    for wrong in [&["a b"][..], &["web", "--method", "notfy"], &["web", "--app", ""]] {
        let refused = apnsd(&[&["token", "create"], wrong].concat()).output().unwrap();
        assert_eq!((refused.status.code(), stdout(&refused)), (Some(2), ""), "{wrong:?}");
    }
}

#[test]
fn a_flag_opens_the_daemon_to_nobody_who_may_not_call() {
    let refused = apnsd(&["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(78));
    assert!(stderr(&refused).contains("--listen: `0.0.0.0:0` can be reached by others"), "{}", stderr(&refused));
}
