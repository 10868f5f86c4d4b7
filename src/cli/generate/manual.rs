//! The manual pages: what clap knows of the command line, and what it does not: variables, files, exit codes, and the
//! page of the configuration, which is the shipped file.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;

/// The configuration with every key and what it does.
const CONFIGURATION: &str = include_str!("../../../config/apnsd.toml");

const URL: (&str, &str) = ("APNSD_URL", "Where the daemon listens; \\-\\-url comes before it.");
const CONFIG: (&str, &str) = ("APNSD_CONFIG", "The configuration file; \\-\\-config comes before it.");
const KEYS: (&str, &str) = (
    "APNSD__SECTION__KEY",
    "Overrides a key of the configuration, as in APNSD__DELIVERY__SETTLE_AFTER=10s; see \\fBapnsd.toml\\fR(5).",
);
const SEAL: (&str, &str) =
    ("CREDENTIALS_DIRECTORY", "Has the file apnsd\\-key, with which private keys are sealed in the state directory.");
const AUTHORITIES: (&str, &str) = ("SSL_CERT_FILE", "Certificate authorities that stand in the place of the system's.");

const FILES: &[(&str, &str)] = &[
    ("/etc/apnsd/apnsd.toml", "The configuration of the Debian package; see \\fBapnsd.toml\\fR(5)."),
    (
        "/etc/apnsd/certs",
        "Certificates that callers may name by path, unless provision.certificate_dirs says otherwise.",
    ),
    ("/var/lib/apnsd", "What must survive the daemon, unless state_dir says otherwise."),
    (
        "/usr/share/doc/apnsd",
        "The documentation of the Debian package: running it, every error with its cure, security.",
    ),
];

/// Writes all pages: of the program, of each verb, of the configuration.
pub(super) fn write(command: &Command, dir: &Path) -> io::Result<()> {
    clap_mangen::generate_to(command.clone(), dir)?;
    let version = command.get_version().unwrap_or_default();
    complete(command, "apnsd", version, dir)?;
    fs::write(dir.join("apnsd.toml.5"), configuration(version))
}

/// Completes the page of a command and those of the commands under it.
fn complete(command: &Command, name: &str, version: &str, dir: &Path) -> io::Result<()> {
    let path = dir.join(format!("{name}.1"));
    let page = completed(&fs::read_to_string(&path)?, command, name, version);
    fs::write(&path, page)?;
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    shown.into_iter().try_for_each(|verb| complete(verb, &format!("{name}-{}", verb.get_name()), version, dir))
}

fn completed(page: &str, command: &Command, name: &str, version: &str) -> String {
    let is_program = name == "apnsd";
    // What clap calls so is the end of the help, line by line.
    let (body, extra) = page.split_once(".SH EXTRA\n").unwrap_or((page, ""));
    let extra = extra.split(".SH VERSION\n").next().unwrap_or_default();
    let has = |flag: &str| command.get_arguments().any(|argument| argument.get_long() == Some(flag));
    let mut variables = Vec::new();
    variables.extend((is_program || has("url")).then_some([URL, AUTHORITIES]).into_iter().flatten());
    variables.extend((is_program || has("config")).then_some([CONFIG, KEYS, SEAL]).into_iter().flatten());
    let mut text: String = body
        .lines()
        .map(|line| if line.starts_with(".TH ") { title(name, 1, version) } else { format!("{line}\n") })
        .collect();
    if is_program {
        text += &format!(".SH \"EXIT STATUS\"\n{}", verbatim(extra.trim_start_matches("Exit codes:\n")));
    } else {
        text += ".SH \"EXIT STATUS\"\nThe exit codes of all verbs are listed in\n\\fBapnsd\\fR(1).\n";
        // Some say something before: `Example:` or `Examples:`, and what follows.
        let (notes, examples) = extra.split_once("Example").unwrap_or_default();
        let (_, examples) = examples.split_once('\n').unwrap_or_default();
        if !notes.trim().is_empty() {
            text += &format!(".SH NOTES\n{}", verbatim(notes));
        }
        text += &format!(".SH EXAMPLES\n{}", verbatim(examples));
    }
    text += &list("ENVIRONMENT", &variables);
    text += &list("FILES", if is_program { FILES } else { &[] });
    text + match is_program {
        true => ".SH \"SEE ALSO\"\n\\fBapnsd.toml\\fR(5), \\fBsystemctl\\fR(1), \\fBjournalctl\\fR(1)\n",
        false => ".SH \"SEE ALSO\"\n\\fBapnsd\\fR(1), \\fBapnsd.toml\\fR(5)\n",
    }
}

fn configuration(version: &str) -> String {
    let name = ".SH NAME\napnsd.toml \\- the configuration of apnsd\n";
    let about = ".SH DESCRIPTION\nThe configuration of \\fBapnsd\\fR(1), as it is shipped: every key with its default, and \
                 what it does.\n";
    let escaped: String = CONFIGURATION.lines().map(|line| escape(line) + "\n").collect();
    let see = ".SH \"SEE ALSO\"\n\\fBapnsd\\fR(1), \\fBapnsd\\-serve\\fR(1), \\fBapnsd\\-check\\-config\\fR(1)\n";
    title("apnsd.toml", 5, version) + name + about + &verbatim(&escaped) + see
}

fn title(name: &str, section: u8, version: &str) -> String {
    let manual = if section == 5 { "File Formats" } else { "User Commands" };
    format!(".TH {} {section} \"\" \"apnsd {version}\" \"{manual}\"\n", escape(&name.to_uppercase()))
}

fn list(head: &str, entries: &[(&str, &str)]) -> String {
    let entry = |(name, text): &(&str, &str)| format!(".TP\n\\fB{}\\fR\n{text}\n", escape(name));
    match entries {
        [] => String::new(),
        entries => format!(".SH {head}\n") + &entries.iter().map(entry).collect::<String>(),
    }
}

/// Lines as they are; escaped already.
fn verbatim(lines: &str) -> String {
    format!(".nf\n{}\n.fi\n", lines.trim_end())
}

/// A line of plain text for roff.
fn escape(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}
