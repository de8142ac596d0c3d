//! Where a condition's parts stand in its text. The syntax tree keeps where an expression begins, not where it ends, and
//! forgets brackets; so the text is cut here, and held to the tree where it is used.
//!
//! Everything works on a *blanked* copy: as long as the text to the byte, but with comments as blanks and texts as `_`, so
//! that a sign found in it is a sign of the program.

use std::ops::Range;

/// `text` with comments as blanks and the insides of texts as `_`, every byte in its place.
pub(super) fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (end, fill) = match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'/')) => (line_end(bytes, at), b' '),
            (b'/', Some(b'*')) => (comment_end(bytes, at), b' '),
            (b'"' | b'\'' | b'`', _) => (text_end(bytes, at), b'_'),
            _ => (at + 1, 0),
        };
        if fill != 0 {
            out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = fill);
        }
        at = end;
    }
    // What is not ASCII outside of texts and comments is no sign either.
    out.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'_');
    String::from_utf8(out).unwrap_or_default()
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| from + n)
}

fn comment_end(bytes: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (at, depth) = (at + 2, depth + 1),
            b"*/" => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Behind the text that opens at `from`; code inside `${…}` belongs to it.
fn text_end(bytes: &[u8], from: usize) -> usize {
    let quote = bytes[from];
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            byte if byte == quote => return at + 1,
            b'\\' if quote != b'`' => at += 2,
            b'$' if quote == b'`' && bytes.get(at + 1) == Some(&b'{') => at = braces_end(bytes, at + 1),
            _ => at += 1,
        }
    }
    bytes.len()
}

fn braces_end(bytes: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'`' => {
                at = text_end(bytes, at);
                continue;
            }
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// The last statement of the block that opens at `open`, without `return` and the semicolon.
pub(super) fn last_statement(blanked: &str, open: usize) -> Option<Range<usize>> {
    let mut depth = 0_usize;
    let mut start = open + 1;
    let mut last = None;
    for (at, sign) in blanked.bytes().enumerate().skip(open) {
        match sign {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    let rest = trimmed(blanked, start..at);
                    let found = if rest.is_empty() { last? } else { rest };
                    return Some(without_return(blanked, found));
                }
                if depth == 1 && sign == b'}' && ends_a_block(blanked, start, at + 1) {
                    last = Some(trimmed(blanked, start..at + 1));
                    start = at + 1;
                }
            }
            b';' if depth == 1 => {
                last = Some(trimmed(blanked, start..at)).filter(|range| !range.is_empty()).or(last);
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

/// Whether the statement from `start`, whose bracket closes before `end`, is a block that is over.
fn ends_a_block(blanked: &str, start: usize, end: usize) -> bool {
    let first = blanked[start..end].trim_start().split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    let is_block = matches!(first, "if" | "while" | "for" | "loop" | "switch" | "try" | "do")
        || blanked[start..end].trim_start().starts_with('{');
    let next = blanked[end..].trim_start();
    is_block && !["else", "catch", "while", "until"].iter().any(|word| next.starts_with(word))
}

fn without_return(blanked: &str, range: Range<usize>) -> Range<usize> {
    match blanked[range.clone()].strip_prefix("return") {
        Some(rest) if rest.starts_with(|c: char| !c.is_alphanumeric() && c != '_') => {
            trimmed(blanked, range.start + "return".len()..range.end)
        }
        _ => range,
    }
}

/// `range` without blanks (and comments) at its ends.
pub(super) fn trimmed(blanked: &str, range: Range<usize>) -> Range<usize> {
    let inner = &blanked[range.clone()];
    let start = range.start + (inner.len() - inner.trim_start().len());
    start..start + inner.trim().len()
}

/// The parts of `range` that `sign` joins, brackets around the whole or around a part taken off; one part where there is
/// no such sign.
pub(super) fn parts(blanked: &str, range: Range<usize>, sign: &str) -> Vec<Range<usize>> {
    let range = without_brackets(blanked, trimmed(blanked, range));
    let mut cuts = vec![range.start];
    let mut depth = 0_usize;
    let bytes = blanked.as_bytes();
    let mut at = range.start;
    while at < range.end {
        match bytes[at] {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            // `||` binds less: what it joins is one part for every other sign.
            _ if depth == 0 && sign != "||" && blanked[at..range.end].starts_with("||") => return vec![range],
            _ if depth == 0 && blanked[at..range.end].starts_with(sign) => {
                cuts.push(at);
                at += sign.len();
                cuts.push(at);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if cuts.len() == 1 {
        return vec![range];
    }
    cuts.push(range.end);
    cuts.chunks(2).flat_map(|cut| parts(blanked, cut[0]..cut[1], sign)).collect()
}

fn without_brackets(blanked: &str, range: Range<usize>) -> Range<usize> {
    let inner = &blanked[range.clone()];
    if !inner.starts_with('(') || !inner.ends_with(')') {
        return range;
    }
    let mut depth = 0_usize;
    for (n, sign) in inner.char_indices() {
        match sign {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 && n + 1 < inner.len() {
            return range;
        }
    }
    without_brackets(blanked, trimmed(blanked, range.start + 1..range.end - 1))
}

/// The two sides of a comparison and its sign: `>=`, `<=`, `==`, `!=`, `>`, `<`, `in`.
pub(super) fn comparison(blanked: &str, range: Range<usize>) -> Option<(Range<usize>, &'static str, Range<usize>)> {
    const SIGNS: [&str; 7] = [">=", "<=", "==", "!=", ">", "<", " in "];
    let mut depth = 0_usize;
    for at in range.clone() {
        match blanked.as_bytes()[at] {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => {
                if let Some(sign) = SIGNS.into_iter().find(|sign| blanked[at..range.end].starts_with(sign)) {
                    let sides = (range.start..at, at + sign.len()..range.end);
                    return Some((trimmed(blanked, sides.0), sign.trim(), trimmed(blanked, sides.1)));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conjuncts(body: &str) -> Vec<&str> {
        let blank = blanked(body);
        let last = last_statement(&blank, 0).unwrap();
        parts(&blank, last, "&&").into_iter().map(|range| &body[range]).collect()
    }

    #[test]
    fn a_condition_is_cut_at_its_own_ands_and_at_no_others() {
        assert_eq!(conjuncts("{ a >= 1 && b }"), ["a >= 1", "b"]);
        assert_eq!(conjuncts("{ (a && (b || c)) && d(\"x && y\") // && z\n }"), ["a", "b || c", "d(\"x && y\")"]);
        assert_eq!(conjuncts("{ a && b || c }"), ["a && b || c"], "an `or` over all of it is one part");
        assert_eq!(conjuncts("{ f(|x| x && y) /* && */ && `${a && b}` == c }"), ["f(|x| x && y)", "`${a && b}` == c"]);
    }

    #[test]
    fn the_last_statement_is_found_behind_others() {
        assert_eq!(conjuncts("{ let x = 1; if a { return false; } x && b }"), ["x", "b"]);
        assert_eq!(conjuncts("{ let x = if a { 1 } else { 2 }; return x == 1 && b; }"), ["x == 1", "b"]);
        assert_eq!(conjuncts("{ if a && b { true } else { false } }"), ["if a", "b { true } else { false }"]);
        assert_eq!(conjuncts("{ x in #{ a: 1 } && b }"), ["x in #{ a: 1 }", "b"]);
    }

    #[test]
    fn a_comparison_has_two_sides() {
        let sides = |text: &'static str| {
            comparison(&blanked(text), 0..text.len()).map(|(left, sign, right)| (&text[left], sign, &text[right]))
        };
        assert_eq!(sides("f(a > b) ?? 0 >= g[c < d]"), Some(("f(a > b) ?? 0", ">=", "g[c < d]")));
        assert_eq!(sides("tier in [\"a\", \"b\"]"), Some(("tier", "in", "[\"a\", \"b\"]")));
        assert_eq!(sides("has_done(\"x >= y\")"), None);
    }
}
