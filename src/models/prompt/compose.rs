//! Prompts that are followed at the same time: `a beach AND a sunset:0.5`.

use super::{PromptError, check_length, check_weight, number};

/// The word between parts.
const AND: &str = "AND";
/// Most parts: each costs a run of the network for each step.
pub const PARTS_MAX: usize = 16;

/// One of several prompts that are followed at the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The prompt, without its weight and without white space at its end.
    pub text: String,
    /// How much it pulls; 1 unless it ends with another number after a colon.
    pub weight: f32,
}

/// Cuts a prompt at each word `AND`. The guidance of a picture is the sum of what each part asks
/// for, times its weight. A prompt without `AND` is one part; a number at its end after a colon is
/// its weight even then, as in the WebUI.
///
/// [`PromptError`] when it is too long, or has too many parts or too large a weight.
pub fn parts(text: &str) -> Result<Vec<Part>, PromptError> {
    check_length(text)?;
    let mut parts = Vec::new();
    let mut from = 0;
    for at in super::standing_alone(text, AND) {
        parts.push(&text[from..at]);
        from = at + AND.len();
    }
    parts.push(&text[from..]);
    let found = parts.len();
    if found > PARTS_MAX {
        return Err(PromptError::TooManyParts { found });
    }
    parts.into_iter().map(part).collect()
}

fn part(text: &str) -> Result<Part, PromptError> {
    let text = text.trim_end();
    let (text, weight) = weight_at_end(text).unwrap_or((text, 1.0));
    Ok(Part {
        text: text.trim_end().to_owned(),
        weight: check_weight(weight)? as f32,
    })
}

/// The text before `: 0.5` at the end of `text`, and the number.
fn weight_at_end(text: &str) -> Option<(&str, f64)> {
    let (before, weight) = text.rsplit_once(':')?;
    let weight = weight.trim_start();
    // No exponents here; all else that is no number does not parse.
    let is_plain = !weight.contains(['e', 'E']);
    let weight = Some(weight).filter(|_| is_plain).and_then(number)?;
    Some((before, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, f32)]) {
        let parts = parts(text).unwrap();
        let found: Vec<(&str, f32)> = parts
            .iter()
            .map(|part| (part.text.as_str(), part.weight))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_prompt_is_cut_at_each_and() {
        check("a", &[("a", 1.0)]);
        check("", &[("", 1.0)]);
        check("a AND b", &[("a", 1.0), (" b", 1.0)]);
        check(
            "a AND b:0.5 AND c : -2",
            &[("a", 1.0), (" b", 0.5), (" c", -2.0)],
        );
        check("a\nAND\nb", &[("a", 1.0), ("\nb", 1.0)]);
        check("AND", &[("", 1.0), ("", 1.0)]);
    }

    #[test]
    fn and_is_a_word_in_upper_case() {
        check("SAND and ANDES AND_", &[("SAND and ANDES AND_", 1.0)]);
        check("(a)AND(b)", &[("(a)", 1.0), ("(b)", 1.0)]);
    }

    #[test]
    fn a_weight_is_the_last_number_after_a_colon() {
        check("a: 1.: .5 ", &[("a: 1.", 0.5)]);
        check("a:+3", &[("a", 3.0)]);
        check("(a:1.2)", &[("(a:1.2)", 1.0)]);
        check("a:b", &[("a:b", 1.0)]);
        check("a:1e1", &[("a:1e1", 1.0)]);
        check("a:1.2.3", &[("a:1.2.3", 1.0)]);
        check("a:", &[("a:", 1.0)]);
        check("a:.", &[("a:.", 1.0)]);
        check("a:1 2", &[("a:1 2", 1.0)]);
    }

    #[test]
    fn parts_and_weights_are_bounded() {
        let joined = |count: usize| vec!["a"; count].join(" AND ");
        assert_eq!(parts(&joined(PARTS_MAX)).unwrap().len(), PARTS_MAX);
        let found = PARTS_MAX + 1;
        assert_eq!(
            parts(&joined(found)),
            Err(PromptError::TooManyParts { found })
        );
        for weight in ["1001", "-1001", &"9".repeat(400)] {
            let refused = parts(&format!("a:{weight}"));
            assert!(matches!(refused, Err(PromptError::Weight { .. })));
        }
    }
}
