//! Takes a container's start line apart, the way a shell would, without ever running it.
//!
//! Knows quotes, backslashes, line continuations and comments. Does not know variables, globs or
//! substitutions: their text stays as it is.

/// The start line ends inside a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenQuote;

/// The words of a start line of one or several lines. `;`, `&` and `|` end a word.
pub(super) fn words(line: &str) -> Result<Vec<String>, OpenQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                None | Some('\n') => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            '#' if word.is_none() => {
                // Up to the end of the line; the newline itself separates nothing that is open.
                chars.by_ref().find(|c| *c == '\n');
            }
            c if c.is_whitespace() || matches!(c, ';' | '&' | '|') => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the closing quote. Inside double quotes a backslash keeps its meaning only before
/// the characters that a shell lists for that.
fn quoted(quote: char, chars: &mut std::str::Chars, word: &mut String) -> Result<(), OpenQuote> {
    loop {
        let c = chars.next().ok_or(OpenQuote)?;
        if c == quote {
            return Ok(());
        }
        if c != '\\' || quote == '\'' {
            word.push(c);
            continue;
        }
        match chars.next().ok_or(OpenQuote)? {
            '\n' => {}
            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
            other => word.extend(['\\', other]),
        }
    }
}

/// An option of a start line with its value, if one belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StartOption {
    /// With its dashes, for example `--port`.
    pub name: String,
    /// What follows `=`, or the next word unless that is an option too.
    pub value: Option<String>,
}

/// The long options among the words of a start line, in their order.
pub(super) fn options(words: &[String]) -> Vec<StartOption> {
    let is_option = |word: &str| word.len() > 2 && word.starts_with("--");
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate().filter(|(_, word)| is_option(word)) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), words.get(index + 1).map(String::as_str)),
        };
        let is_attached = word.contains('=');
        found.push(StartOption {
            name: name.to_owned(),
            value: value
                .filter(|value| is_attached || !value.starts_with('-'))
                .map(str::to_owned),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        for (line, expected) in [
            ("", &[][..]),
            ("python app.py", &["python", "app.py"]),
            ("a 'b c' \"d e\" f\\ g", &["a", "b c", "d e", "f g"]),
            ("a\\\n b; c&&d|e", &["a", "b", "c", "d", "e"]),
            ("a '' \"\"", &["a", "", ""]),
            ("x='1 2'y", &["x=1 2y"]),
            (r#"'\' "\n \$ \\""#, &["\\", "\\n $ \\"]),
            ("a#b # c d\ne", &["a#b", "e"]),
            ("a\\", &["a"]),
        ] {
            assert_eq!(
                words(line),
                Ok(expected.iter().map(|w| (*w).to_owned()).collect()),
                "{line}"
            );
        }
        for line in ["'", "a \"b", "\"\\"] {
            assert_eq!(words(line), Err(OpenQuote), "{line}");
        }
    }

    #[test]
    fn options_get_the_value_that_belongs_to_them() {
        let words = words("x --api --port 8000 --dir=a=b --empty= --last -p --").unwrap();
        let found: Vec<_> = options(&words)
            .into_iter()
            .map(|option| (option.name, option.value))
            .collect();
        let expected = [
            ("--api", None),
            ("--port", Some("8000")),
            ("--dir", Some("a=b")),
            ("--empty", Some("")),
            ("--last", None),
        ]
        .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(found, expected);
    }
}
