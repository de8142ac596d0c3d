//! The page of commands: the tree that the arguments are parsed by, walked.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::{cell, heading, said};

pub(super) fn render(tree: &Command, missing: &mut Vec<String>) -> String {
    let about = "Every command ends with 0 when all is well, with 1 when it failed or found something wrong, and with 2 \
                 when it was used wrongly. `rekindle COMMAND --help` prints what stands here.";
    let mut text = heading("Commands", "cli", about);
    let mut commands = Vec::new();
    gather(tree, tree.get_name(), &mut commands);
    text.push_str("\n| command | does |\n|---|---|\n");
    for (path, command) in &commands {
        let anchor = path.replace(' ', "-");
        writeln!(text, "| [`{path}`](#{anchor}) | {} |", cell(&about_of(path, command, missing))).expect(INTO_TEXT);
    }
    for (path, command) in &commands {
        section(path, command, &mut text, missing);
    }
    text
}

const INTO_TEXT: &str = "writing into a text cannot fail";

/// The commands that can be run, each with its whole name.
fn gather<'a>(command: &'a Command, path: &str, found: &mut Vec<(String, &'a Command)>) {
    let mut inner = command.get_subcommands().filter(|c| c.get_name() != "help" && !c.is_hide_set()).peekable();
    if inner.peek().is_none() {
        found.push((path.to_owned(), command));
    }
    for sub in inner {
        gather(sub, &format!("{path} {}", sub.get_name()), found);
    }
}

fn about_of(path: &str, command: &Command, missing: &mut Vec<String>) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    let words = about.map(|about| sentence(&about.to_string()));
    said(words, || format!("command `{path}`"), missing)
}

fn section(path: &str, command: &Command, text: &mut String, missing: &mut Vec<String>) {
    let usage = command.clone().bin_name(path).render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let about = about_of(path, command, missing);
    writeln!(text, "\n## {path}\n\n{about}\n\n```text\n{usage}\n```").expect(INTO_TEXT);
    let arguments: Vec<&Arg> = command.get_arguments().filter(|a| is_own(a)).collect();
    if !arguments.is_empty() {
        text.push_str("\n| argument | says | default |\n|---|---|---|\n");
    }
    for argument in arguments {
        row(path, argument, text, missing);
    }
    match command.get_after_help().map(ToString::to_string) {
        Some(after) if after.contains("Example") => examples(&after, text),
        _ => missing.push(format!("an example of `{path}`")),
    }
}

/// With its full stop, which clap takes away.
fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Every command has these two.
fn is_own(argument: &Arg) -> bool {
    !matches!(argument.get_id().as_str(), "help" | "version") && !argument.is_hide_set()
}

fn row(path: &str, argument: &Arg, text: &mut String, missing: &mut Vec<String>) {
    let value = || {
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let name = match argument.get_long() {
        None => value(),
        Some(long) if argument.get_action().takes_values() => format!("--{long} {}", value()),
        Some(long) => format!("--{long}"),
    };
    let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string);
    let help = help.map(|help| sentence(&help));
    let mut help = said(help, || format!("argument `{name}` of `{path}`"), missing);
    if argument.get_action().takes_values() {
        let words: Vec<String> = argument.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
        if !words.is_empty() {
            help = format!("{help} One of {}.", words.join(", "));
        }
    }
    let defaults = argument.get_default_values().iter().map(|v| format!("`{}`", v.to_string_lossy()));
    let default = match defaults.collect::<Vec<_>>() {
        none if none.is_empty() && argument.is_required_set() => "needed".to_owned(),
        some if argument.get_action().takes_values() && !argument.is_hide_default_value_set() => some.join(", "),
        _ => String::new(),
    };
    writeln!(text, "| `{}` | {} | {default} |", cell(&name), cell(&help)).expect(INTO_TEXT);
}

/// What stands below the help: indented lines are commands, the others prose.
fn examples(after: &str, text: &mut String) {
    let mut in_code = false;
    text.push('\n');
    for line in after.lines() {
        let indented = line.starts_with("  ");
        if indented != in_code && !(in_code && line.is_empty()) {
            text.push_str(if indented { "\n```sh\n" } else { "```\n" });
            in_code = indented;
        }
        if in_code && line.is_empty() {
            text.push_str("```\n");
            in_code = false;
        }
        text.push_str(line.trim_start());
        text.push('\n');
    }
    if in_code {
        text.push_str("```\n");
    }
}
