//! The `apnsd.toml` in the simulator's directory: a configuration with which the daemon uses this simulator.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::SimulatorError;
use super::certificates::{Certificates, write_private};

/// Where the simulator is reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) binary: SocketAddr,
    pub(super) feedback: SocketAddr,
    pub(super) http2: SocketAddr,
}

/// Writes the file, anew at each start, since addresses may have changed.
pub(super) fn write(addresses: &Addresses, certificates: &Certificates) -> Result<PathBuf, SimulatorError> {
    let path = certificates.dir.join("apnsd.toml");
    write_private(&path, text(&certificates.dir, addresses, &certificates.ca.path))?;
    Ok(path)
}

fn text(dir: &Path, addresses: &Addresses, ca: &Path) -> String {
    let Addresses { binary, feedback, http2 } = addresses;
    let ca = quoted(ca);
    let mut text = format!(
        "# Written by `apnsd simulate` at each start: copy it before you change it.\n\
         # Start the daemon with `apnsd serve --config {}`.\n\
         \n\
         listen = [\"127.0.0.1:7077\"]\n\
         state_dir = {}\n\
         \n\
         [provision]\n\
         certificate_dirs = [{}]\n",
        dir.join("apnsd.toml").display(),
        quoted(&dir.join("state")),
        quoted(dir),
    );
    for name in ["sandbox", "production"] {
        text += &format!("\n[environments.{name}]\ngateway = \"https://{http2}\"\nca = {ca}\n");
    }
    for name in ["sandbox-binary", "production-binary"] {
        text += &format!(
            "\n[environments.{name}]\ngateway = \"binary://{binary}\"\nfeedback = \"binary://{feedback}\"\nca = {ca}\n"
        );
    }
    text
}

/// A path as a TOML string.
fn quoted(path: &Path) -> toml::Value {
    toml::Value::String(path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_toml_and_points_at_the_simulator() {
        let text = text(
            Path::new("/tmp/a \"quoted\" dir"),
            &Addresses {
                binary: "127.0.0.1:2195".parse().unwrap(),
                feedback: "[::1]:2196".parse().unwrap(),
                http2: "127.0.0.1:2197".parse().unwrap(),
            },
            Path::new("/tmp/a \"quoted\" dir/ca.pem"),
        );
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["listen"][0].as_str(), Some("127.0.0.1:7077"));
        assert_eq!(table["state_dir"].as_str(), Some("/tmp/a \"quoted\" dir/state"));
        assert_eq!(table["provision"]["certificate_dirs"][0].as_str(), Some("/tmp/a \"quoted\" dir"));
        for name in ["sandbox", "production"] {
            let environment = &table["environments"][name];
            assert_eq!(environment["gateway"].as_str(), Some("https://127.0.0.1:2197"));
            assert_eq!(environment.get("feedback"), None);
            assert_eq!(environment["ca"].as_str(), Some("/tmp/a \"quoted\" dir/ca.pem"));
        }
        for name in ["sandbox-binary", "production-binary"] {
            let environment = &table["environments"][name];
            assert_eq!(environment["gateway"].as_str(), Some("binary://127.0.0.1:2195"));
            assert_eq!(environment["feedback"].as_str(), Some("binary://[::1]:2196"));
            assert_eq!(environment["ca"].as_str(), Some("/tmp/a \"quoted\" dir/ca.pem"));
        }
    }
}
