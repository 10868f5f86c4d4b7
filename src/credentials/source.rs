//! Where credentials come from: the text itself, or a file on the daemon's machine.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use super::error::CredentialsError;
use super::pem;

/// Largest file: a certificate with its chain and key takes less than a hundredth of it.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// In front of an allowed directory: the directory where systemd puts a unit's credentials.
const CREDENTIALS_DIRECTORY: &str = "$CREDENTIALS_DIRECTORY";

/// Where credentials came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// They were the argument.
    Inline,
    /// From this file, in canonical form; it is worth watching.
    Path(PathBuf),
}

/// What changes whenever a file does, without a look into it. A link is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    modified: (i64, i64),
    /// A file that was moved here, or may be read now, keeps its time of modification but not this one.
    changed: (i64, i64),
    size: u64,
    inode: (u64, u64),
}

impl FileMark {
    /// The mark of a file as it is now; `None` where there is none, or none that may be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok()?;
        Some(Self {
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            size: file.size(),
            inode: (file.dev(), file.ino()),
        })
    }
}

/// Reads what the second argument of `provision` names: the credentials themselves, or an absolute path that lies under
/// one of `dirs` once all links are resolved.
///
/// A directory that does not exist allows nothing. One that begins with `$CREDENTIALS_DIRECTORY` lies in the directory
/// that systemd made for this process. A path outside of all and one that cannot be read are the same error.
pub fn read(argument: &str, dirs: &[PathBuf]) -> Result<(Source, Vec<u8>), CredentialsError> {
    let credentials_directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    read_under(argument, dirs, credentials_directory.as_deref())
}

fn read_under(
    argument: &str,
    dirs: &[PathBuf],
    credentials_directory: Option<&Path>,
) -> Result<(Source, Vec<u8>), CredentialsError> {
    if is_inline(argument) {
        return Ok((Source::Inline, argument.as_bytes().to_vec()));
    }
    let path = Path::new(argument.trim());
    if path.as_os_str().is_empty() {
        return Err(CredentialsError::Empty);
    }
    if !path.is_absolute() {
        return Err(CredentialsError::NotAnArgument);
    }
    let refused = || {
        let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        CredentialsError::PathRefused { dirs: dirs.join(", ") }
    };
    let path = path.canonicalize().map_err(|_| refused())?;
    let mut allowed = dirs.iter().filter_map(|dir| expand(dir, credentials_directory)?.canonicalize().ok());
    if !allowed.any(|dir| path.starts_with(dir)) {
        return Err(refused());
    }
    match read_capped(&path).map_err(|_| refused())? {
        Some(bytes) => Ok((Source::Path(path), bytes)),
        None => Err(CredentialsError::TooLarge(FILE_BYTES_MAX)),
    }
}

/// Reads a file that the operator named in the config file: no directory rule, and the error says why.
pub fn read_file(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let unreadable = |error: std::io::Error| CredentialsError::Unreadable {
        path: path.display().to_string(),
        cause: error.to_string(),
    };
    read_capped(path).map_err(unreadable)?.ok_or(CredentialsError::TooLarge(FILE_BYTES_MAX))
}

/// Reads a file that the operator named and that holds nothing but a passphrase, in one line. A line break at its end is
/// not part of it.
pub fn read_passphrase(path: &Path) -> Result<String, CredentialsError> {
    let bytes = read_file(path)?;
    passphrase(bytes)
        .map_err(|cause| CredentialsError::Unreadable { path: path.display().to_string(), cause: cause.to_owned() })
}

/// The passphrase of such a file, or why it has none.
pub fn passphrase(bytes: Vec<u8>) -> Result<String, &'static str> {
    let mut text = String::from_utf8(bytes).map_err(|_| "a passphrase is UTF-8 text")?;
    let end = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).map(str::len);
    text.truncate(end.unwrap_or(text.len()));
    match text.contains('\n') {
        true => Err("a passphrase is one line, and this has more: leave the passphrase alone in it"),
        false => Ok(text),
    }
}

/// The path, where an argument of `provision` is one and not the credentials themselves.
pub fn path(argument: &str) -> Option<&str> {
    let trimmed = argument.trim();
    (trimmed.starts_with('/') && !is_inline(argument)).then_some(trimmed)
}

/// PEM, JSON, or the base64 of a file, all of which [`super::parse`] tells apart.
fn is_inline(argument: &str) -> bool {
    let trimmed = argument.trim_start();
    memmem::find(argument.as_bytes(), pem::BEGIN).is_some() || trimmed.starts_with('{') || decode(argument).is_some()
}

/// The content of a base64 text, if it looks like DER or has PEM blocks.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let base64: String = text.split_ascii_whitespace().collect();
    // A DER sequence of 256 bytes or more begins so in base64, and no absolute path does.
    let is_der = base64.starts_with("MI");
    STANDARD.decode(base64).ok().filter(|content| is_der || memmem::find(content, pem::BEGIN).is_some())
}

fn expand(dir: &Path, credentials_directory: Option<&Path>) -> Option<PathBuf> {
    match dir.strip_prefix(CREDENTIALS_DIRECTORY) {
        Ok(rest) => Some(credentials_directory?.join(rest)),
        Err(_) => Some(dir.to_owned()),
    }
}

/// The content of a regular file; `None` if it is too large.
fn read_capped(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    // Opening a pipe would wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= FILE_BYTES_MAX).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----";

    /// A directory with an allowed `certs`, and a file inside and outside of it.
    fn directory() -> (tempfile::TempDir, PathBuf, Vec<PathBuf>) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let certs = root.join("certs");
        fs::create_dir(&certs).unwrap();
        fs::write(certs.join("app.pem"), PEM).unwrap();
        fs::write(root.join("outside.pem"), PEM).unwrap();
        (directory, root, vec![PathBuf::from("/nonexistent"), certs])
    }

    fn text(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    #[test]
    fn text_is_taken_as_it_is() {
        for text in [PEM, "Bag Attributes\n-----BEGIN PRIVATE KEY-----", "  {\"type\":1}", "MIIB"] {
            assert_eq!(read(text, &[]), Ok((Source::Inline, text.as_bytes().to_vec())));
        }
    }

    #[test]
    fn a_file_under_an_allowed_directory_is_read_through_any_spelling() {
        let (_guard, root, dirs) = directory();
        let path = root.join("certs/app.pem");
        symlink(root.join("certs"), root.join("link")).unwrap();
        for spelling in [path.clone(), root.join("certs/../certs/./app.pem"), root.join("link/app.pem")] {
            assert_eq!(read(text(&spelling), &dirs), Ok((Source::Path(path.clone()), PEM.as_bytes().to_vec())));
        }
    }

    #[test]
    fn outside_missing_and_unreadable_read_the_same() {
        let (_guard, root, dirs) = directory();
        symlink(root.join("outside.pem"), root.join("certs/escape.pem")).unwrap();
        let expected = format!(
            "certificate path is not under certificate_dirs (/nonexistent, {}), or not readable: pass the PEM text or \
             add the directory",
            root.join("certs").display()
        );
        for path in
            ["outside.pem", "certs/missing.pem", "certs/escape.pem", "certs/../outside.pem", "certs", "certs2/x"]
        {
            assert_eq!(read(text(&root.join(path)), &dirs).unwrap_err().to_string(), expected, "{path}");
        }
        assert_eq!(read("/nul\0byte", &dirs).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_neither_text_nor_an_absolute_path_is_refused() {
        assert_eq!(read("", &[]), Err(CredentialsError::Empty));
        assert_eq!(read("certs/app.pem", &[]), Err(CredentialsError::NotAnArgument));
    }

    #[test]
    fn systemds_directory_is_allowed_where_there_is_one() {
        let (_guard, root, _) = directory();
        let path = root.join("certs/app.pem");
        for dir in ["$CREDENTIALS_DIRECTORY", "$CREDENTIALS_DIRECTORY/certs"] {
            let dirs = [PathBuf::from(dir)];
            assert!(read_under(text(&path), &dirs, Some(&root)).is_ok());
            assert!(matches!(read_under(text(&path), &dirs, None), Err(CredentialsError::PathRefused { .. })));
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let (_guard, root, dirs) = directory();
        let path = root.join("certs/large.pem");
        let limit = usize::try_from(FILE_BYTES_MAX).unwrap();
        fs::write(&path, vec![b'x'; limit]).unwrap();
        assert!(read(text(&path), &dirs).is_ok());
        fs::write(&path, vec![b'x'; limit + 1]).unwrap();
        assert_eq!(read(text(&path), &dirs), Err(CredentialsError::TooLarge(FILE_BYTES_MAX)));
        assert_eq!(read_file(&path), Err(CredentialsError::TooLarge(FILE_BYTES_MAX)));
    }

    #[test]
    fn a_passphrase_ends_before_the_line_break() {
        let (_guard, root, _) = directory();
        let path = root.join("passphrase");
        for (content, expected) in
            [("secret", "secret"), (" secret \n", " secret "), ("secret\r\n", "secret"), ("", "")]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(read_passphrase(&path).as_deref(), Ok(expected));
        }
        fs::write(&path, b"\xff").unwrap();
        let told = read_passphrase(&path).unwrap_err().to_string();
        assert_eq!(told, format!("`{}` cannot be read: a passphrase is UTF-8 text", path.display()));
        for content in ["a\n\n", "secret\nother\n", "secret\r\nother"] {
            fs::write(&path, content).unwrap();
            let told = read_passphrase(&path).unwrap_err().to_string();
            assert!(
                told.ends_with(
                    "` cannot be read: a passphrase is one line, and this has more: leave the passphrase \
                alone in it"
                ),
                "{told}"
            );
        }
    }

    #[test]
    fn a_file_that_the_operator_named_says_why_it_cannot_be_read() {
        let error = read_file(Path::new("/nonexistent/app.pem")).unwrap_err().to_string();
        assert_eq!(error, "`/nonexistent/app.pem` cannot be read: No such file or directory (os error 2)");
    }
}
