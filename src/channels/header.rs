//! Text that fits into one header line. Whatever a customer typed into a name or a rule put into a subject comes through
//! here before it gets near a header, so it can lengthen a line but never begin another one.

/// `text` on one line: control characters and Unicode's line and paragraph separators become spaces, runs of white space
/// become one space, invisible direction marks are dropped, and what is longer than `max_chars` is cut with an ellipsis.
pub(super) fn one_line(text: &str, max_chars: usize) -> String {
    let mut line = String::with_capacity(text.len().min(4 * max_chars));
    let visible = text.chars().filter(|c| !turns_text_around(*c)).map(|c| if breaks_lines(c) { ' ' } else { c });
    let mut n_chars = 0;
    let mut space = false;
    for c in visible {
        if c.is_whitespace() {
            space = n_chars > 0;
            continue;
        }
        if n_chars + usize::from(space) >= max_chars {
            line.push('…');
            break;
        }
        if std::mem::take(&mut space) {
            line.push(' ');
            n_chars += 1;
        }
        line.push(c);
        n_chars += 1;
    }
    line
}

fn breaks_lines(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Bidirectional overrides make a sender or subject read as something else than it says.
fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_line_break_of_any_sort_becomes_a_space() {
        assert_eq!(one_line("Bob\r\nBcc: x@y", 100), "Bob Bcc: x@y");
        assert_eq!(one_line("\u{2028}a\u{85}b\0c\u{202e}d\t\n", 100), "a b cd");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(one_line(&"ä".repeat(5_000), 3), "äää…");
        assert_eq!(one_line("abc  def", 4), "abc…");
        assert_eq!(one_line("abc ", 3), "abc");
    }
}
