//! How much each part of a prompt counts: `(more)`, `[less]`, `(this much:1.3)`.

use super::{NESTING_MAX, PromptError, check_length, check_weight, number, standing_alone};

/// What round brackets multiply a weight with, and square ones divide it by.
const STEP: f64 = 1.1;
/// The word that ends a chunk.
const BREAK: &str = "BREAK";
/// Letters of a weight that is no number, in a message.
const SHOWN_MAX: usize = 24;

/// What brackets of emphasis do. The names are those of the WebUI's option `emphasis`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emphasis {
    /// `None`: brackets, weights and BREAK are text.
    None,
    /// `Ignore`: brackets and weights are taken out and mean nothing.
    Ignore,
    /// `Original`: vectors are multiplied with their weights, and the mean of a chunk is restored.
    #[default]
    Original,
    /// `No norm`: vectors are multiplied with their weights.
    NoNorm,
}

impl Emphasis {
    /// By the name that the WebUI's option has.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "None" => Some(Self::None),
            "Ignore" => Some(Self::Ignore),
            "Original" => Some(Self::Original),
            "No norm" => Some(Self::NoNorm),
            _ => None,
        }
    }
}

/// A part of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text that has the same weight throughout.
    Text {
        /// Without brackets and escapes.
        text: String,
        /// 1 for ordinary text.
        weight: f32,
    },
    /// What follows begins a new chunk.
    Break,
}

/// Reads the brackets of a prompt.
///
/// `(x)` multiplies the weight with 1.1, `[x]` divides it by 1.1, `(x:1.5)` multiplies it with 1.5;
/// brackets nest. `\(`, `\)`, `\[`, `\]` and `\\` stand for the sign itself, and any other `\` for
/// nothing. A bracket that is never closed reaches to the end; one that was never opened is text.
/// `BREAK` as a word is a [`Piece::Break`], and the white space around it is dropped; here, other
/// than in the WebUI, also inside brackets. Neighbours of equal weight are one piece. An empty
/// prompt is one empty text.
///
/// [`PromptError`] when the text is too long, its brackets are too deep, or a weight is no number
/// or too large.
pub fn pieces(text: &str) -> Result<Vec<Piece>, PromptError> {
    check_length(text)?;
    let mut reader = Reader::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[reader.read(first, rest)?..];
    }
    reader.close_all();
    reader.merged()
}

/// What has been read so far. All texts are parts of the prompt.
#[derive(Default)]
struct Reader<'a> {
    /// Text and weight; no text for a break.
    pieces: Vec<(Option<&'a str>, f64)>,
    /// For each open round bracket the number of pieces before it.
    round: Vec<usize>,
    /// The same for square ones.
    square: Vec<usize>,
}

impl<'a> Reader<'a> {
    /// Reads what stands at the beginning of `rest`, and gives its length in bytes.
    fn read(&mut self, first: char, rest: &'a str) -> Result<usize, PromptError> {
        match first {
            '\\' => return Ok(self.escape(rest)),
            ':' => return self.colon(rest),
            '(' => self.round.push(self.pieces.len()),
            '[' => self.square.push(self.pieces.len()),
            ')' => match self.round.pop() {
                Some(start) => self.multiply(start, STEP),
                None => self.text(&rest[..1]),
            },
            ']' => match self.square.pop() {
                Some(start) => self.multiply(start, 1.0 / STEP),
                None => self.text(&rest[..1]),
            },
            _ => return Ok(self.plain(rest)),
        }
        // Weights are multiplied once for each bracket around them, so depth bounds the time.
        if self.round.len() + self.square.len() > NESTING_MAX {
            return Err(PromptError::TooDeep);
        }
        Ok(1)
    }

    fn escape(&mut self, rest: &'a str) -> usize {
        let after = &rest[1..];
        if !after.starts_with(['(', ')', '[', ']', '\\']) {
            return 1;
        }
        self.text(&after[..1]);
        2
    }

    fn colon(&mut self, rest: &'a str) -> Result<usize, PromptError> {
        let Some((weight, length)) = closing_weight(rest) else {
            self.text(&rest[..1]);
            return Ok(1);
        };
        let Some(start) = self.round.pop() else {
            self.text(&rest[..length]);
            return Ok(length);
        };
        let factor = number(weight).ok_or_else(|| PromptError::Weight {
            found: weight.chars().take(SHOWN_MAX).collect(),
        })?;
        self.multiply(start, factor);
        Ok(length)
    }

    fn plain(&mut self, rest: &'a str) -> usize {
        let end = rest.find(['\\', '(', ')', '[', ']', ':']);
        let text = &rest[..end.unwrap_or(rest.len())];
        let mut from = 0;
        for at in standing_alone(text, BREAK) {
            self.text(text[from..at].trim_end());
            self.pieces.push((None, 1.0));
            let after = &text[at + BREAK.len()..];
            from = text.len() - after.trim_start().len();
        }
        self.text(&text[from..]);
        text.len()
    }

    fn text(&mut self, text: &'a str) {
        if !text.is_empty() {
            self.pieces.push((Some(text), 1.0));
        }
    }

    fn multiply(&mut self, start: usize, factor: f64) {
        for (_, weight) in &mut self.pieces[start..] {
            *weight *= factor;
        }
    }

    fn close_all(&mut self) {
        for start in std::mem::take(&mut self.round) {
            self.multiply(start, STEP);
        }
        for start in std::mem::take(&mut self.square) {
            self.multiply(start, 1.0 / STEP);
        }
    }

    fn merged(self) -> Result<Vec<Piece>, PromptError> {
        let mut merged = Vec::new();
        // The weight of the last piece before it was rounded.
        let mut last = f64::NAN;
        for (text, weight) in self.pieces {
            let Some(more) = text else {
                merged.push(Piece::Break);
                continue;
            };
            match merged.last_mut() {
                Some(Piece::Text { text, .. }) if last == weight => text.push_str(more),
                _ => merged.push(Piece::Text {
                    text: more.to_owned(),
                    weight: check_weight(weight)? as f32,
                }),
            }
            last = weight;
        }
        if merged.is_empty() {
            merged.push(Piece::Text {
                text: String::new(),
                weight: 1.0,
            });
        }
        Ok(merged)
    }
}

/// The number of `:1.5)` at the beginning of `rest`, as text, and the length of it all in bytes.
fn closing_weight(rest: &str) -> Option<(&str, usize)> {
    let number = rest.strip_prefix(':')?.trim_start();
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let after =
        unsigned.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    if after.len() == unsigned.len() {
        return None;
    }
    let behind = after.trim_start().strip_prefix(')')?;
    let number = &number[..number.len() - after.len()];
    Some((number, rest.len() - behind.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, f32)> {
        let pieces = pieces(text).unwrap().into_iter();
        let pairs = pieces.map(|piece| match piece {
            Piece::Text { text, weight } => (text, weight),
            Piece::Break => ("|".to_owned(), 0.0),
        });
        pairs.collect()
    }

    fn check(text: &str, expected: &[(&str, f64)]) {
        let read = read(text);
        let texts: Vec<&str> = read.iter().map(|(text, _)| text.as_str()).collect();
        let wanted: Vec<&str> = expected.iter().map(|(text, _)| *text).collect();
        assert_eq!(texts, wanted, "{text}");
        for ((_, weight), (_, wanted)) in read.iter().zip(expected) {
            assert!(
                (f64::from(*weight) - wanted).abs() < 1e-6,
                "{text}: {weight}"
            );
        }
    }

    #[test]
    fn brackets_weigh_what_is_in_them() {
        check("a red hat", &[("a red hat", 1.0)]);
        check("", &[("", 1.0)]);
        check("a (red) hat", &[("a ", 1.0), ("red", 1.1), (" hat", 1.0)]);
        check(
            "a [red] hat",
            &[("a ", 1.0), ("red", 1.0 / 1.1), (" hat", 1.0)],
        );
        check("(red:1.5) hat", &[("red", 1.5), (" hat", 1.0)]);
        check("(red: +.5 )", &[("red", 0.5)]);
        check("(red:-2.)", &[("red", -2.0)]);
        check("()[](:1.5)", &[("", 1.0)]);
    }

    #[test]
    fn brackets_multiply_where_they_nest() {
        check("((a))", &[("a", 1.21)]);
        check("[[a]]", &[("a", 1.0 / 1.21)]);
        check("(a (b:2) c)", &[("a ", 1.1), ("b", 2.2), (" c", 1.1)]);
        check(
            "(a, [b:c], d:3)",
            &[("a, ", 3.0), ("b:c", 3.0 / 1.1), (", d", 3.0)],
        );
        // Round and square ones are counted apart, so these overlap.
        check("(a [b) c]", &[("a ", 1.1), ("b", 1.0), (" c", 1.0 / 1.1)]);
    }

    #[test]
    fn neighbours_of_equal_weight_are_one_piece() {
        check("(to)(gether)", &[("together", 1.1)]);
        check("a()b", &[("ab", 1.0)]);
        check("(a:2)(b:2.0) c", &[("ab", 2.0), (" c", 1.0)]);
        check("(a (b:1))c", &[("a b", 1.1), ("c", 1.0)]);
    }

    #[test]
    fn escaped_signs_are_text() {
        check(r"\(a\) \[b\] \\", &[(r"(a) [b] \", 1.0)]);
        check(r"(a \(b\):1.2)", &[("a (b)", 1.2)]);
        check(r"a\b\", &[("ab", 1.0)]);
    }

    #[test]
    fn open_brackets_reach_to_the_end_and_closed_ones_are_text() {
        check("a (b", &[("a ", 1.0), ("b", 1.1)]);
        check("a [b (c", &[("a ", 1.0), ("b ", 1.0 / 1.1), ("c", 1.0)]);
        check("a) b] c:1.5) d:", &[("a) b] c:1.5) d:", 1.0)]);
        check("(a)) b", &[("a", 1.1), (") b", 1.0)]);
    }

    #[test]
    fn what_only_looks_like_a_weight_is_text() {
        check("(a:b)", &[("a:b", 1.1)]);
        check("(16:9 picture)", &[("16:9 picture", 1.1)]);
        check("(a:-)", &[("a:-", 1.1)]);
        check("(a:1.2", &[("a:1.2", 1.1)]);
    }

    #[test]
    fn a_break_ends_a_piece_at_any_depth() {
        check("a BREAK b", &[("a", 1.0), ("|", 0.0), ("b", 1.0)]);
        check("a\n BREAK,b", &[("a", 1.0), ("|", 0.0), (",b", 1.0)]);
        check("BREAK BREAK", &[("|", 0.0), ("|", 0.0)]);
        check("(a BREAK b:2)", &[("a", 2.0), ("|", 0.0), ("b", 2.0)]);
        check(
            "BREAKS break aBREAK BREAK_",
            &[("BREAKS break aBREAK BREAK_", 1.0)],
        );
    }

    #[test]
    fn weights_out_of_bounds_are_refused() {
        let refused = |text: &str| matches!(pieces(text), Err(PromptError::Weight { .. }));
        for text in [
            "(a:1.2.3)",
            "(a:.)",
            "(a:1001)",
            "((a:100):-100)",
            "(a:+9999999999)",
        ] {
            assert!(refused(text), "{text}");
        }
        assert!(refused(&format!("(a:{})", "9".repeat(400))));
        assert!(refused(&format!("{}a", "(".repeat(100))));
        check("(a:1000)", &[("a", 1000.0)]);
        // Text that is not there has no weight.
        check("(:1001)", &[("", 1.0)]);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth| format!("{}a{}", "([".repeat(depth), "])".repeat(depth));
        check(&nested(NESTING_MAX / 2), &[("a", 1.0)]);
        assert_eq!(
            pieces(&nested(NESTING_MAX / 2 + 1)),
            Err(PromptError::TooDeep)
        );
        let long = "a".repeat(super::super::PROMPT_BYTES_MAX + 1);
        assert!(matches!(pieces(&long), Err(PromptError::TooLong { .. })));
    }

    #[test]
    fn any_text_is_read_or_refused() {
        let signs = [
            "(",
            ")",
            "[",
            "]",
            ":",
            "\\",
            "1.5",
            ".",
            " ",
            "BREAK",
            "a",
            "\u{e9}",
            "\u{1f600}",
        ];
        let mut state = 7_u64;
        for _ in 0..3000 {
            let mut text = String::new();
            for _ in 0..state >> 59 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                text += signs[(state >> 33) as usize % signs.len()];
            }
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            if let Ok(pieces) = pieces(&text) {
                assert!(!pieces.is_empty());
            }
        }
    }

    #[test]
    fn emphasis_is_known_by_the_names_of_the_option() {
        assert_eq!(Emphasis::named("No norm"), Some(Emphasis::NoNorm));
        assert_eq!(Emphasis::named("Original"), Some(Emphasis::default()));
        assert_eq!(Emphasis::named("other"), None);
    }
}
