//! Credentials that are something else: paths to what is none of the caller's business, files and texts without end.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::site::{Site, post};

fn provision(certificate: &str) -> Vec<u8> {
    let params = ["app", certificate, "sandbox", "<int>15</int>", "<struct></struct>"];
    let params: String = params.iter().map(|value| format!("<param><value>{value}</value></param>")).collect();
    post("", format!("<methodCall><methodName>provision</methodName><params>{params}</params></methodCall>"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_outside_of_the_permitted_directories_is_told_nothing_about() {
    let site = Site::start("").await;
    let root = site.dir.path().display().to_string();
    let certs = site.dir.path().join("certs");
    fs::write(site.dir.path().join("outside.pem"), "secret").unwrap();
    fs::create_dir(certs.join("directory")).unwrap();
    symlink(site.dir.path().join("outside.pem"), certs.join("link.pem")).unwrap();
    symlink("/dev/zero", certs.join("zero.pem")).unwrap();
    symlink("loop.pem", certs.join("loop.pem")).unwrap();
    assert!(Command::new("mkfifo").arg(certs.join("fifo.pem")).status().unwrap().success());
    let paths = [
        format!("{root}/certs/../outside.pem"),
        format!("{root}/outside.pem"),
        format!("{root}/certs/absent.pem"),
        format!("{root}/certs/link.pem"),
        format!("{root}/certs/zero.pem"),
        format!("{root}/certs/loop.pem"),
        format!("{root}/certs/fifo.pem"),
        format!("{root}/certs/directory"),
        "/dev/zero".to_owned(),
        "/etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
        "/nonexistent".to_owned(),
    ];
    for path in paths {
        let told = site.told(&site.address(), &provision(&path), false).await;
        let expected = format!(
            "fault 8002: certificate path is not under certificate_dirs ({root}/certs), or not readable: pass the PEM text \
             or add the directory (it was `{path}`)"
        );
        assert_eq!(told, expected);
        site.serves(&path).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_texts_without_end_are_refused_before_they_are_read_to_it() {
    let site = Site::start("").await;
    let certs = site.dir.path().join("certs");
    fs::File::create(certs.join("sparse.pem")).unwrap().set_len(10 << 30).unwrap();
    fs::write(certs.join("text.pem"), "a secret that is no PEM").unwrap();
    let certs = certs.display();
    let block = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let large = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", "A".repeat(900_000));
    let no_key = "fault 8002: no private key: append the key that the certificate was made for, in PEM";
    site.tells(&[
        ("10 GiB of nothing", provision(&format!("{certs}/sparse.pem")), "fault 8002: more than 1048576 bytes"),
        (
            "what is no PEM is not shown",
            provision(&format!("{certs}/text.pem")),
            "fault 8002: neither PEM nor PKCS#12: PEM text has blocks",
        ),
        ("10,000 certificates", provision(&block.repeat(10_000)), no_key),
        ("a large certificate", provision(&large), no_key),
        (
            "30,000 beginnings",
            provision(&"-----BEGIN CERTIFICATE-----\n".repeat(30_000)),
            "fault 8002: the PEM block `CERTIFICATE` is cut off or damaged",
        ),
        (
            "a relative path",
            provision("certs/text.pem"),
            "fault 8002: neither PEM text, nor base64 of a credentials file, nor an absolute path",
        ),
        (
            "a URL",
            provision("file:///etc/passwd"),
            "fault 8002: neither PEM text, nor base64 of a credentials file, nor an absolute path",
        ),
    ])
    .await;
}
