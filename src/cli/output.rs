//! Tables and progress, and the way everything is printed.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

/// Prints. Characters that a terminal obeys instead of showing (escape sequences, overrides of the direction of
/// writing) are written as `\u001b`, which in JSON means the same.
pub(super) fn print(mut to: impl Write, what: fmt::Arguments<'_>) {
    let text = what.to_string();
    // Nobody is there any more to read it, as behind `| head`: no reason to fail.
    to.write_all(shown(&text, |c| c == '\n' || c == '\t').as_bytes()).and_then(|()| to.flush()).ok();
}

/// One value on one line: line breaks in it are shown too, so that it cannot pass for lines of ours.
pub(super) fn visible(text: &str) -> String {
    shown(text, |_| false)
}

fn shown(text: &str, passes: impl Fn(char) -> bool) -> String {
    let commands = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if commands(c) && !passes(c) {
            write!(line, "\\u{:04x}", u32::from(c)).expect("writing to a String cannot fail");
        } else {
            line.push(c);
        }
    }
    line
}

/// Columns as wide as their widest cell, two blanks between; the last column is not padded.
pub(super) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let cell_width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = headers.iter().map(|h| cell_width(h)).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell_width(cell));
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell_width(cell)) + 2));
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut headers.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// JSON for programs, one document.
pub(super) fn print_json(value: &Value) {
    println!("{value:#}");
}

/// A number with thousands set apart.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A bar on standard error, or a line where that is no terminal.
pub(super) fn bar(total: u64, what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("{what} ...");
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg:32} [{bar:28}] {percent:>3} %  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.set_message(what.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_commands_no_terminal_and_stays_the_same_json() {
        let value = serde_json::json!({ "name": "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}b\nc\td" });
        let mut printed = Vec::new();
        print(&mut printed, format_args!("{value:#}"));
        let printed = String::from_utf8(printed).unwrap();
        assert!(
            !printed.contains(|c: char| c.is_control() && c != '\n') && !printed.contains('\u{202e}'),
            "{printed:?}"
        );
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), value);
    }

    #[test]
    fn a_cell_cannot_begin_a_row_of_its_own() {
        let rows = [vec!["Bob\nGOLD  admin".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["NAME", "X"], &rows).lines().count(), 2);
    }
}
