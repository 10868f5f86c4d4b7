//! `generate`: manual pages and completions, from the definition of the command line; for whoever makes a package.

mod manual;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::exit::{Exit, Failure};

/// Write manual pages and shell completions
///
/// DIR gets man/apnsd.1, a page for each verb, man/apnsd.toml.5, and completions for bash, zsh and fish under the names by which these
/// look for them.
#[derive(Debug, Args)]
#[command(hide = true, after_help = "Example:\n  apnsd generate target/generated")]
pub(super) struct Generate {
    /// Where to; made if missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes everything.
pub(super) fn run(args: &Generate) -> Result<(), Failure> {
    let manual = directory(&args.dir, "man")?;
    manual::write(&Cli::command(), &manual).map_err(|error| failed(&manual, &error))?;
    for (shell, dir, name) in
        [(Shell::Bash, "bash", "apnsd"), (Shell::Zsh, "zsh", "_apnsd"), (Shell::Fish, "fish", "apnsd.fish")]
    {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "apnsd", &mut script);
        let path = directory(&args.dir, dir)?.join(name);
        fs::write(&path, script).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

fn directory(parent: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = parent.join(name);
    fs::create_dir_all(&path).map_err(|error| failed(&path, &error))?;
    Ok(path)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_that_is_shown_has_a_page_and_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        run(&Generate { dir: dir.path().to_owned() }).unwrap();
        let text = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        let completions = [text("bash/apnsd"), text("zsh/_apnsd"), text("fish/apnsd.fish")];
        let command = Cli::command();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = verb.get_name();
            let page = text(&format!("man/apnsd-{name}.1"));
            assert!(page.contains(".SH EXAMPLES\n.nf\n  apnsd "), "{name}: {page}");
            assert!(page.contains("\n.TH APNSD\\-") && page.contains("\"User Commands\"\n"), "{name}: {page}");
            assert!(page.ends_with("\\fBapnsd\\fR(1), \\fBapnsd.toml\\fR(5)\n"), "{name}: {page}");
            assert_eq!(page.contains("APNSD_URL"), page.contains("\\-\\-url"), "{name}: {page}");
            assert!(completions.iter().all(|script| script.contains(name)), "{name}");
        }
        let program = text("man/apnsd.1");
        for head in ["\"EXIT STATUS\"", "ENVIRONMENT", "FILES", "\"SEE ALSO\""] {
            assert_eq!(program.matches(&format!(".SH {head}\n")).count(), 1, "{head}: {program}");
        }
        let configuration = text("man/apnsd.toml.5");
        assert!(configuration.starts_with(".TH APNSD.TOML 5 "), "{configuration}");
        assert!(configuration.contains("\n#settle_after = \"5s\"\n"), "{configuration}");
        assert!(!dir.path().join("man/apnsd-generate.1").exists());
    }
}
