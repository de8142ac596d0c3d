//! Just enough of a Rust reader to see which paths a file uses: tokens with their lines, without comments, texts and test
//! code, and out of those the paths. A full parser would be a heavier dependency than the one test that needs it.

/// A word or sign of the source; a string or character literal is `""`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A path as written, `crate::channels::smtp::Smtp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    /// The name that a `use` gives it in this file; `None` for a path in running code.
    pub(crate) imported_as: Option<String>,
    pub(crate) line: usize,
}

/// The code that ships, and the files (`mod NAME;`) that are compiled for tests only.
pub(crate) struct Shipped {
    pub(crate) tokens: Vec<Token>,
    pub(crate) test_modules: Vec<String>,
}

/// Reads `source` and leaves out everything under `#[cfg(test)]`.
pub(crate) fn shipped(source: &str) -> Shipped {
    let all = tokens(source);
    let mut shipped = Shipped { tokens: Vec::new(), test_modules: Vec::new() };
    let mut at = 0;
    while at < all.len() {
        if is(&all, at, "#") && is(&all, at + 1, "!") && is_test_attribute(&all, at + 2) {
            shipped.tokens.clear();
            return shipped;
        }
        if is(&all, at, "#") && is_test_attribute(&all, at + 1) {
            let item = end_of_attributes(&all, at);
            let end = end_of_item(&all, item);
            if let Some(name) = module_in_own_file(&all[item..end]) {
                shipped.test_modules.push(name);
            }
            at = end;
        } else {
            shipped.tokens.push(all[at].clone());
            at += 1;
        }
    }
    shipped
}

/// Every path of two or more segments, and every leaf of every `use`.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is(tokens, at, "use") && !is(tokens, at + 1, "<") {
            at = use_tree(tokens, at + 1, &[], &mut found);
        } else if starts_path(tokens, at) {
            let line = tokens[at].line;
            let mut segments = vec![tokens[at].text.clone()];
            at += 1;
            while is(tokens, at, "::") && tokens.get(at + 1).is_some_and(|t| is_word(&t.text)) {
                segments.push(tokens[at + 1].text.clone());
                at += 2;
            }
            if segments.len() > 1 {
                found.push(Path { segments, imported_as: None, line });
            }
        } else {
            at += 1;
        }
    }
    found
}

fn starts_path(tokens: &[Token], at: usize) -> bool {
    if !is_word(&tokens[at].text) || at > 0 && is(tokens, at - 1, ".") {
        return false;
    }
    // `Vec::<u8>::new` goes on with `new`; `::sqlx::query` begins with `sqlx`.
    let continues = at > 1 && is(tokens, at - 1, "::") && (is_word(&tokens[at - 2].text) || is(tokens, at - 2, ">"));
    !continues
}

/// Reads one tree of a `use` and returns where the next begins.
fn use_tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |t| t.line);
    let mut name = None;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && !is(tokens, at, "}") {
                    at = use_tree(tokens, at, &segments, found);
                    at += usize::from(is(tokens, at, ","));
                }
                return at + 1;
            }
            "as" => {
                name = tokens.get(at + 1).map(|t| t.text.clone());
                at += 2;
            }
            "self" if !segments.is_empty() => at += 1,
            word if is_word(word) || word == "*" => {
                segments.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    if let Some(last) = segments.last().cloned() {
        found.push(Path { segments, imported_as: Some(name.unwrap_or(last)), line });
    }
    at
}

fn is_test_attribute(tokens: &[Token], bracket: usize) -> bool {
    if !is(tokens, bracket, "[") || !is(tokens, bracket + 1, "cfg") {
        return false;
    }
    let inside = &tokens[bracket..end_of_brackets(tokens, bracket)];
    inside.iter().any(|t| t.text == "test") && !inside.iter().any(|t| t.text == "not")
}

fn end_of_attributes(tokens: &[Token], mut at: usize) -> usize {
    while is(tokens, at, "#") {
        at = end_of_brackets(tokens, at + 1);
    }
    at
}

fn end_of_brackets(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        depth += nesting(&token.text);
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Past the `;` or the closing brace that ends the item beginning at `start`.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        depth += nesting(&token.text);
        if depth == 0 && matches!(token.text.as_str(), ";" | "}") {
            return at + 1;
        }
    }
    tokens.len()
}

fn nesting(sign: &str) -> i32 {
    match sign {
        "(" | "[" | "{" => 1,
        ")" | "]" | "}" => -1,
        _ => 0,
    }
}

fn module_in_own_file(item: &[Token]) -> Option<String> {
    let at = item.iter().position(|t| t.text == "mod")?;
    is(item, at + 2, ";").then(|| item[at + 1].text.clone())
}

fn is(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|t| t.text == text)
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && !matches!(text, "as" | "use")
}

/// All tokens of `source`.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut out = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        let text = match chars[at] {
            c if c.is_whitespace() => {
                at += 1;
                None
            }
            '/' if chars.get(at + 1) == Some(&'/') => {
                at = find(&chars, at, |c| c == '\n');
                None
            }
            '/' if chars.get(at + 1) == Some(&'*') => {
                at = end_of_comment(&chars, at);
                None
            }
            '"' => {
                at = end_of_text(&chars, at + 1, '"');
                Some("\"\"".to_owned())
            }
            '\'' if chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => {
                at = end_of_text(&chars, at + 1, '\'');
                Some("\"\"".to_owned())
            }
            '\'' => {
                at = find(&chars, at + 1, |c| !c.is_alphanumeric() && c != '_'); // a lifetime
                None
            }
            c if c.is_alphanumeric() || c == '_' => {
                at = find(&chars, at, |c| !c.is_alphanumeric() && c != '_');
                let word: String = chars[start..at].iter().collect();
                match raw_text_end(&chars, at, &word) {
                    Some(end) => {
                        at = end;
                        Some("\"\"".to_owned())
                    }
                    None => Some(word),
                }
            }
            ':' if chars.get(at + 1) == Some(&':') => {
                at += 2;
                Some("::".to_owned())
            }
            sign => {
                at += 1;
                Some(sign.to_string())
            }
        };
        out.extend(text.map(|text| Token { text, line }));
        line += chars[start..at.min(chars.len())].iter().filter(|&&c| c == '\n').count();
    }
    out
}

fn find(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|&i| stop(chars[i])).unwrap_or(chars.len())
}

fn end_of_comment(chars: &[char], open: usize) -> usize {
    let (mut at, mut depth) = (open, 0);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (at, depth) = (at + 2, depth + 1),
            ('*', '/') => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_text(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of `r"…"`, `r#"…"#`, `b"…"` and their kin, where `word` is such a prefix.
fn raw_text_end(chars: &[char], at: usize, word: &str) -> Option<usize> {
    if !matches!(word, "r" | "b" | "br" | "c" | "cr") {
        return None;
    }
    let n_hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
    if chars.get(at + n_hashes) != Some(&'"') {
        return None;
    }
    if !word.ends_with('r') {
        return (n_hashes == 0).then(|| end_of_text(chars, at + 1, '"'));
    }
    let closing: String = format!("\"{}", "#".repeat(n_hashes));
    let from = at + n_hashes + 1;
    let rest: String = chars[from..].iter().collect();
    let end = rest.find(&closing).map_or(rest.chars().count(), |i| rest[..i].chars().count() + closing.len());
    Some(from + end)
}

mod tests {
    use super::{paths, shipped};

    fn seen(source: &str) -> Vec<String> {
        paths(&shipped(source).tokens).into_iter().map(|p| format!("{} {}", p.line, p.segments.join("::"))).collect()
    }

    #[test]
    fn a_use_tree_is_read_to_its_leaves() {
        let source = "use crate::a::{b, c::{self, D as E}, f::*};\npub use super::g;";
        assert_eq!(
            seen(source),
            ["1 crate::a::b", "1 crate::a::c", "1 crate::a::c::D", "1 crate::a::f::*", "2 super::g"]
        );
    }

    #[test]
    fn paths_in_running_code_and_attributes_are_seen() {
        let source =
            "#[tokio::test]\nfn f(x: &'a crate::a::B) -> Vec<u8> {\n ::sqlx::query(x.y) ; Vec::<crate::c::D>::new() }";
        assert_eq!(seen(source), ["1 tokio::test", "2 crate::a::B", "3 sqlx::query", "3 crate::c::D"]);
    }

    #[test]
    fn comments_texts_and_test_code_are_not_code() {
        let source = r##"
            // crate::a::b
            /* crate::a::b /* crate::a::b */ crate::a::b */
            const A: &str = "crate::a::b"; const B: &str = r#"crate::"a"::b"#; const C: char = '"'; const D: char = '\'';
            #[cfg(test)]
            #[expect(dead_code)]
            mod tests { use crate::a::b; fn f() { crate::a::b() } }
            #[cfg(test)]
            use crate::a::{b, c};
            #[cfg(not(test))]
            use crate::seen::this;
        "##;
        assert_eq!(seen(source), ["11 crate::seen::this"]);
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_named() {
        assert_eq!(shipped("#[cfg(test)]\nmod tests;\nmod other;").test_modules, ["tests"]);
    }
}
