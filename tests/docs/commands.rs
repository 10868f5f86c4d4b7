//! Command lines of `apnsd`.

use crate::text::{Page, pages};

/// The words of every `apnsd …` in a page's blocks of shell commands.
fn command_lines(page: &Page) -> Vec<Vec<String>> {
    let shell = page.blocks().into_iter().filter(|block| ["console", "sh", "bash"].contains(&block.language));
    let mut lines = Vec::new();
    for block in shell {
        let all = block.lines.join("\n").replace("\\\n", " ");
        let prompted = block.language == "console";
        for line in all.lines() {
            let line = match (prompted, line.strip_prefix("$ ").or(line.strip_prefix("# "))) {
                (true, None) => continue,
                (_, Some(command)) => command,
                (false, None) => line,
            };
            lines.extend(commands(line).into_iter().filter_map(|words| arguments(&words)));
        }
    }
    lines
}

/// Splits a line into commands and those into words, as a shell does; redirections and comments are left out.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut quote, mut skip_next) = (String::new(), None, false);
    let end = |word: &mut String, commands: &mut Vec<Vec<String>>, skip_next: &mut bool| {
        if !word.is_empty() && !std::mem::take(skip_next) {
            commands.last_mut().expect("there is one").push(std::mem::take(word));
        }
        word.clear();
    };
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), letter) => word.push(letter),
            (None, '\'' | '"') => quote = Some(letter),
            (None, '#') if word.is_empty() => break,
            (None, ' ') => end(&mut word, &mut commands, &mut skip_next),
            (None, '|' | ';' | '&' | '(' | ')') => {
                end(&mut word, &mut commands, &mut skip_next);
                commands.push(Vec::new());
            }
            (None, '>' | '<') => {
                // `2>` is one of them too.
                if word == "2" {
                    word.clear();
                }
                end(&mut word, &mut commands, &mut skip_next);
                skip_next = true;
            }
            (None, letter) => word.push(letter),
        }
    }
    end(&mut word, &mut commands, &mut skip_next);
    commands
}

/// The words from `apnsd` on, if that is what the command runs: by itself, with variables before it, or by `sudo`.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let is_user = |at: usize| at > 0 && words[at - 1] == "-u";
    let is_before = |at: usize| {
        let word = &words[at];
        word.contains('=') || word == "sudo" || word == "env" || word.starts_with('-') || is_user(at)
    };
    let at = (0..words.len()).find(|at| !is_before(*at))?;
    (words[at] == "apnsd" || words[at].ends_with("/apnsd")).then(|| words[at..].to_vec())
}

#[test]
fn every_command_line_parses() {
    let mut problems = Vec::new();
    let mut count = 0;
    for page in pages() {
        for words in command_lines(&page) {
            count += 1;
            if let Err(error) = apnsd::cli::command().try_get_matches_from(&words) {
                let is_help = matches!(
                    error.kind(),
                    clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
                );
                if !is_help {
                    problems.push(format!("{}: {}\n{error}", page.name, words.join(" ")));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 30, "only {count} command lines were found");
}

#[test]
fn every_command_that_is_mentioned_has_its_verb_and_flags() {
    let mut problems = Vec::new();
    for page in pages() {
        for span in page.spans() {
            let Some(rest) = span.strip_prefix("apnsd ") else { continue };
            let mut command = apnsd::cli::command();
            command.build();
            let mut is_first = true;
            for word in rest.split_whitespace() {
                let flag = word.strip_prefix("--").map(|flag| flag.split('=').next().unwrap_or_default());
                match (flag, command.find_subcommand(word).cloned()) {
                    (None, Some(verb)) => command = verb,
                    (None, None) if is_first => problems.push(format!("{}: `{span}`: no verb {word}", page.name)),
                    (None, None) => (),
                    (Some(flag), _) => {
                        if !command.get_arguments().any(|argument| argument.get_long() == Some(flag)) {
                            problems.push(format!("{}: `{span}`: no flag --{flag}", page.name));
                        }
                    }
                }
                is_first = false;
            }
        }
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn a_line_is_split_as_a_shell_splits_it() {
    let found = |line: &str| -> Vec<String> {
        commands(line).iter().filter_map(|words| arguments(words)).map(|words| words.join("_")).collect()
    };
    assert_eq!(found("apnsd notify a --alert 'x y' >> f  # hm"), ["apnsd_notify_a_--alert_x y"]);
    assert_eq!(found("(umask 077; sudo -u apnsd apnsd export --secrets > s.json)"), ["apnsd_export_--secrets"]);
    assert_eq!(found("APNSD_URL=unix:/x apnsd apps && apnsd queue 2> e | less"), ["apnsd_apps", "apnsd_queue"]);
    assert_eq!(found("journalctl -u apnsd"), [""; 0]);
    assert_eq!(found("systemctl restart apnsd"), [""; 0]);
}
