use std::path::Path;

use clap::error::ErrorKind;
use clap::{Command as Clap, CommandFactory};

use super::*;

/// All commands with their full names, those that are hidden, too.
fn all(command: &Clap, before: &str) -> Vec<(String, Clap)> {
    let name = format!("{before}{}", command.get_name());
    let below = command.get_subcommands().flat_map(|it| all(it, &format!("{name} ")));
    below.chain([(name.clone(), command.clone())]).collect()
}

/// What is written below the options of a command. The grammar of links is printed by others as well, without clap.
fn written(command: &Clap) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default().replace(mpt_link::GRAMMAR, "")
}

/// Command lines of mpt that begin a line, without what explains them.
fn command_lines(text: &str) -> Vec<String> {
    let ends = ["  ", " | ", " > ", " < ", " && ", " # ", "; ", " .."];
    let lines = text.lines().filter_map(|line| {
        let line = line.trim().strip_prefix("sudo ").unwrap_or(line.trim());
        let line = ends.iter().fold(line, |line, end| line.split(end).next().unwrap_or(line));
        line.starts_with("mpt ").then(|| line.trim().to_owned())
    });
    lines.collect()
}

/// What stands in `backticks`, each in a line: what the log says, as `mpt runs there`, stands in some, too.
fn quoted(text: &str) -> String {
    let names: Vec<String> = Cli::command().get_subcommands().map(|it| it.get_name().to_owned()).collect();
    let is_command = |line: &&str| line.split_whitespace().any(|word| names.iter().any(|name| name == word));
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_command);
    quoted.map(|line| format!("{line}\n")).collect()
}

/// Those of command lines that mpt does not have. Values may be stand-ins, or be left out.
fn unknown(lines: &[String]) -> Vec<String> {
    let is_unknown = |line: &&String| {
        let words = line.split('"').enumerate().flat_map(|(index, part)| -> Vec<&str> {
            if index % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }
        });
        let error = Cli::try_parse_from(words).err().map(|error| error.kind());
        matches!(error, Some(ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand))
    };
    lines.iter().filter(is_unknown).cloned().collect()
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_fits_and_clap_alone_wraps_its_prose() {
    let mut faults = Vec::new();
    for (name, command) in all(&Cli::command(), "") {
        let mut refuse = |is_wrong: bool, what: &str, line: &str| {
            if is_wrong {
                faults.push(format!("{name}: {what}: {line}"));
            }
        };
        for line in command.clone().term_width(WIDTH).render_long_help().to_string().lines() {
            refuse(line.chars().count() > WIDTH, "too wide", line);
            refuse(line.contains('\\'), "a backslash", line);
        }
        let written = written(&command);
        let mut before = "";
        for line in written.lines() {
            let is_prose = !line.starts_with(' ') && !line.is_empty();
            refuse(!is_prose && line.chars().count() > WIDTH, "too wide", line);
            refuse(is_prose && line.contains("  "), "two spaces", line);
            // Broken here and by clap, lines of all lengths follow each other.
            refuse(
                is_prose && !before.starts_with(' ') && !before.is_empty(),
                "a paragraph in several lines",
                line,
            );
            before = line;
        }
        let about = [command.get_about(), command.get_long_about()].into_iter().flatten();
        let helps = command.get_arguments().flat_map(|it| [it.get_help(), it.get_long_help()]).flatten();
        for text in about.chain(helps).map(ToString::to_string) {
            refuse(text.contains("  "), "two spaces", &text);
        }
    }
    assert_eq!(faults, [""; 0], "{}", faults.join("\n"));
}

#[test]
fn commands_in_help_are_there() {
    for (name, command) in all(&Cli::command(), "") {
        let text = written(&command);
        assert_eq!(unknown(&command_lines(&(quoted(&text) + &text))), [""; 0], "{name}");
    }
}

// They are about programs that have all commands.
#[cfg(feature = "lab")]
#[test]
fn commands_in_documents_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let entries = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.chain([root.join("README.md"), root.join("SECURITY.md")]);
    let mut lines = Vec::new();
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let blocks: String = text.split("```").skip(1).step_by(2).collect();
        lines.extend(command_lines(&(quoted(&text) + &blocks)));
    }
    assert!(lines.len() > 100, "{}", lines.len());
    assert_eq!(unknown(&lines), [""; 0]);
}
