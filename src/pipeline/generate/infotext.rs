//! The text that says what a picture was made of.
//!
//! It is the web UI's: the prompt, a line `Negative prompt: …` if there is one, and a last line of
//! named values. Programs that read pictures understand it, and users paste it to make a picture again.
//! This module knows the form; which names and values there are is up to the caller.

use std::collections::HashMap;

use crate::imaging::png_text::TextItem;

/// The key of the text in a PNG.
pub const KEY: &str = "parameters";
/// What the line of the negative prompt begins with.
const NEGATIVE: &str = "Negative prompt:";
/// A last line with fewer named values belongs to the prompt.
const FIELDS_MIN: usize = 3;

/// Names in the order of the web UI. Names that are not here follow, before the last two.
const FIRST_NAMES: [&str; 32] = [
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Image CFG scale",
    "Seed",
    "Face restoration",
    "Size",
    "Model hash",
    "Model",
    "FP8 weight",
    "Cache FP16 weight for LoRA",
    "VAE hash",
    "VAE",
    "Variation seed",
    "Variation seed strength",
    "Seed resize from",
    "Denoising strength",
    "Conditional mask weight",
    "Clip skip",
    "ENSD",
    "Token merging ratio",
    "Token merging ratio hr",
    "Init image hash",
    "RNG",
    "Tiling",
    "Mask mode",
    "Mask blur",
    "Inpaint area",
    "Masked area padding",
    "Masked content",
    "Noise multiplier",
];
/// Names that end the text.
const LAST_NAMES: [&str; 2] = ["Version", "User"];

/// What a picture was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Infotext {
    /// What is to be seen.
    pub prompt: String,
    /// What is not to be seen; may be empty.
    pub negative_prompt: String,
    /// Names and values in the order of the text, such as `Steps` and `20`.
    pub fields: Vec<(String, String)>,
}

impl Infotext {
    /// The text, with the fields in their order.
    ///
    /// A value with a comma, a colon or a line break is written as a JSON string, and so is one with a
    /// quotation mark at its beginning, which would be read back as something else.
    pub fn to_text(&self) -> String {
        let mut text = self.prompt.clone();
        if !self.negative_prompt.is_empty() {
            text.extend(["\n", NEGATIVE, " ", &self.negative_prompt]);
        }
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|(name, value)| {
                if name == value {
                    return name.clone();
                }
                format!("{name}: {}", quoted(value))
            })
            .collect();
        text += "\n";
        text += &fields.join(", ");
        text.trim_matches(is_space).to_owned()
    }

    /// Reads a text, whatever it is: without a last line of at least three named values all of it is
    /// prompt. Values that are empty are left out, and line breaks are `\n`.
    pub fn parse(text: &str) -> Self {
        let text = text.trim_matches(is_space);
        let (mut lines, last) = text.rsplit_once('\n').unwrap_or(("", text));
        let mut found = fields(last);
        if found.len() < FIELDS_MIN {
            found.clear();
            lines = text;
        }
        let mut prompts = [String::new(), String::new()];
        let mut part = 0;
        for line in lines.split('\n') {
            let mut line = line.trim_matches(is_space);
            if let Some(rest) = line.strip_prefix(NEGATIVE) {
                part = 1;
                line = rest.trim_matches(is_space);
            }
            if !prompts[part].is_empty() {
                prompts[part].push('\n');
            }
            prompts[part].push_str(line);
        }
        let [prompt, negative_prompt] = prompts;
        Self {
            prompt,
            negative_prompt,
            fields: found
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.to_owned(), unquoted(value)))
                .collect(),
        }
    }

    /// The value of a field; of several with this name the last one.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(known, _)| known == name);
        named.next_back().map(|(_, value)| &**value)
    }

    /// Brings the fields into the order of the web UI. Names that it does not know keep their order
    /// among each other and stand before `Version`.
    pub fn sort_fields(&mut self) {
        let last = |name: &str| LAST_NAMES.iter().position(|known| *known == name);
        let first = |name: &str| FIRST_NAMES.iter().position(|known| *known == name);
        let place = |name: &str| match (first(name), last(name)) {
            (Some(place), _) => place,
            (_, Some(place)) => FIRST_NAMES.len() + 1 + place,
            (None, None) => FIRST_NAMES.len(),
        };
        self.fields.sort_by_key(|(name, _)| place(name));
    }

    /// Everything as names and values, each name once: `Prompt`, `Negative prompt`, and the fields. A
    /// size such as `512x768` becomes two values, of the names `Size-1` and `Size-2`. Where these are
    /// missing, the text network is used up to its last layer (`Clip skip` 1) and the schedule is the
    /// sampler's own (`Schedule type` Automatic).
    pub fn parameters(&self) -> Vec<(String, String)> {
        let mut found = Unique::default();
        found.set("Prompt", &self.prompt);
        found.set("Negative prompt", &self.negative_prompt);
        for (name, value) in &self.fields {
            match size(value) {
                Some((width, height)) => {
                    found.set(&format!("{name}-1"), width);
                    found.set(&format!("{name}-2"), height);
                }
                None => found.set(name, value),
            }
        }
        for (name, value) in [("Clip skip", "1"), ("Schedule type", "Automatic")] {
            if !found.places.contains_key(name) {
                found.set(name, value);
            }
        }
        found.pairs
    }
}

/// What a picture file says about itself, as the web UI's route `png-info` answers it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PictureInfo {
    /// What the picture was made of; empty if the file does not say it.
    pub info: String,
    /// All other texts, each key once, by their keys.
    pub items: Vec<(String, String)>,
}

impl PictureInfo {
    /// From the texts of a file and its EXIF comment. The comment counts more than the text with the
    /// key `parameters`, and of two texts with one key the second.
    pub fn of(texts: Vec<TextItem>, comment: Option<String>) -> Self {
        let mut items = Unique::default();
        let mut info = String::new();
        for TextItem { key, text } in texts {
            if key == KEY {
                info = text;
            } else {
                items.set(&key, &text);
            }
        }
        Self {
            info: comment.filter(|text| !text.is_empty()).unwrap_or(info),
            items: items.pairs,
        }
    }
}

/// Pairs of which a later one replaces the value of an earlier one with the same name.
#[derive(Default)]
struct Unique {
    pairs: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Unique {
    fn set(&mut self, name: &str, value: &str) {
        if let Some(place) = self.places.get(name) {
            value.clone_into(&mut self.pairs[*place].1);
        } else {
            self.places.insert(name.to_owned(), self.pairs.len());
            self.pairs.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// Width and height of `512x768`.
fn size(value: &str) -> Option<(&str, &str)> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    value
        .split_once('x')
        .filter(|(width, height)| is_number(width) && is_number(height))
}

fn quoted(value: &str) -> String {
    if !value.contains([',', ':', '\n']) && !value.starts_with('"') {
        return value.to_owned();
    }
    serde_json::Value::from(value).to_string()
}

/// The text of a JSON string; anything else as it is.
fn unquoted(value: &str) -> String {
    let is_quoted = value.starts_with('"') && value.ends_with('"');
    is_quoted
        .then(|| serde_json::from_str(value).ok())
        .flatten()
        .unwrap_or_else(|| value.to_owned())
}

/// Named values of a line, in their order, as they stand there.
///
/// A name begins with a letter, digit or underscore; at least one more of these or of space, hyphen and
/// slash follow, then a colon. The value goes up to the next comma, or is a quoted text before a comma
/// or the end. Everything else is passed over. Every sign is looked at a fixed number of times: a run of
/// signs that no colon ends holds no name, and the end of a quoted text is the next quotation mark.
fn fields(line: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find(is_name_start) {
        let name = &rest[start..];
        let end = name.find(|sign| !is_in_name(sign)).unwrap_or(name.len());
        let (name, after) = name.split_at(end);
        let Some(after) = after.strip_prefix(':').filter(|_| has_two_signs(name)) else {
            // A shorter run cannot be followed by the colon either.
            rest = after;
            continue;
        };
        let after = after.trim_start_matches(is_space);
        let length = quoted_length(after).unwrap_or_else(|| after.find(',').unwrap_or(after.len()));
        let (value, after) = after.split_at(length);
        found.push((name, value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    found
}

fn has_two_signs(name: &str) -> bool {
    name.chars().nth(1).is_some()
}

/// The length of a quoted text of at least one sign that ends before a comma or at the end.
fn quoted_length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = inner.find(|sign| {
        let is_end = sign == '"' && !is_escaped;
        is_escaped = sign == '\\' && !is_escaped;
        is_end
    })?;
    let after = &inner[end + 1..];
    let is_whole = end > 0 && (after.is_empty() || after.starts_with(','));
    is_whole.then_some(end + 2)
}

fn is_name_start(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

fn is_in_name(sign: char) -> bool {
    is_name_start(sign) || matches!(sign, ' ' | '-' | '/')
}

/// White space as Python has it, with the four separators of ASCII.
fn is_space(sign: char) -> bool {
    sign.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&sign)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn the_text_is_the_web_uis() {
        let mut info = Infotext {
            prompt: "a portrait, (smile:1.2)".to_owned(),
            negative_prompt: "blurry".to_owned(),
            fields: pairs([
                ("Version", "1.0"),
                ("Lora hashes", "one: 12, two: 34"),
                ("Model", "name"),
                ("Size", "512x768"),
                ("Steps", "20"),
                ("Mask blur", "4"),
                ("Sampler", "Euler a"),
                ("Denoising strength", "0.75"),
                ("Clip skip", "2"),
            ]),
        };
        info.sort_fields();
        let text = info.to_text();
        assert_eq!(
            text,
            "a portrait, (smile:1.2)\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, \
             Size: 512x768, Model: name, Denoising strength: 0.75, Clip skip: 2, Mask blur: 4, \
             Lora hashes: \"one: 12, two: 34\", Version: 1.0"
        );
        assert_eq!(Infotext::parse(&text), info);
    }

    #[test]
    fn empty_parts_leave_no_empty_lines() {
        let mut info = Infotext::default();
        assert_eq!(info.to_text(), "");
        info.fields = pairs([("Steps", "1"), ("Hires fix", "Hires fix")]);
        assert_eq!(info.to_text(), "Steps: 1, Hires fix");
        info.prompt = "cat".to_owned();
        assert_eq!(info.to_text(), "cat\nSteps: 1, Hires fix");
    }

    #[test]
    fn values_that_would_be_misread_are_quoted() {
        let odd = [
            "a, b",
            "a: b",
            "two\nlines",
            "\"in marks\"",
            "back\\slash, \"x\"",
            "\u{5199}:\u{1}",
        ];
        for value in odd {
            let info = Infotext {
                fields: pairs([("One", value), ("Two", "2"), ("Three", "3")]),
                ..Infotext::default()
            };
            let text = info.to_text();
            assert!(!text.contains('\n'), "{text}");
            assert_eq!(Infotext::parse(&text), info, "{text}");
        }
    }

    #[test]
    fn the_last_line_decides() {
        let two = Infotext::parse("a cat\nSteps: 1, Seed: 2");
        assert_eq!(two.prompt, "a cat\nSteps: 1, Seed: 2");
        assert_eq!(two.fields, []);
        let three = Infotext::parse(
            "\n a \n\n cat \nNegative prompt:  x\n y\nSteps: 1, Seed: 2, Odd: 3 \n",
        );
        assert_eq!(three.prompt, "a\n\ncat");
        assert_eq!(three.negative_prompt, "x\ny");
        assert_eq!(
            three.fields,
            pairs([("Steps", "1"), ("Seed", "2"), ("Odd", "3")])
        );
        assert_eq!(three.field("Seed"), Some("2"));
        let alone = Infotext::parse("Steps: 1, Seed: 2, Odd: 3");
        assert_eq!((&*alone.prompt, alone.fields.len()), ("", 3));
    }

    #[test]
    fn fields_are_found_as_the_web_ui_finds_them() {
        let cases: [(&str, &[(&str, &str)]); 9] = [
            (
                "aa:b, cc :d,e-/f:  g",
                &[("aa", "b"), ("cc ", "d"), ("e-/f", "g")],
            ),
            ("a:b, bb:c:d", &[("bb", "c:d")]),
            ("((aa: b), c", &[("aa", "b)")]),
            ("aa: \"b, \\\"c\" , dd: e", &[("aa", "\"b"), ("dd", "e")]),
            (
                "aa: \"b, \\\"c\", dd: e",
                &[("aa", "\"b, \\\"c\""), ("dd", "e")],
            ),
            ("aa: \"\", bb: \"c", &[("aa", "\"\""), ("bb", "\"c")]),
            ("aa:, bb:", &[("aa", ""), ("bb", "")]),
            ("no names here", &[]),
            (
                "gr\u{f6}\u{df}e: 1\u{b5}, __: x",
                &[("gr\u{f6}\u{df}e", "1\u{b5}"), ("__", "x")],
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(fields(line), expected, "{line}");
        }
    }

    #[test]
    fn parameters_have_sizes_apart_and_each_name_once() {
        let info = Infotext::parse("cat\nSteps: 1, Size: 512x768, Steps: 2, Model: 1xl");
        assert_eq!(
            info.parameters(),
            pairs([
                ("Prompt", "cat"),
                ("Negative prompt", ""),
                ("Steps", "2"),
                ("Size-1", "512"),
                ("Size-2", "768"),
                ("Model", "1xl"),
                ("Clip skip", "1"),
                ("Schedule type", "Automatic"),
            ])
        );
    }

    #[test]
    fn the_info_of_a_picture_is_apart_from_its_other_texts() {
        let item = |key: &str, text: &str| TextItem {
            key: key.to_owned(),
            text: text.to_owned(),
        };
        let texts = vec![
            item("a", "1"),
            item(KEY, "cat"),
            item("b", "2"),
            item("a", "3"),
        ];
        let info = PictureInfo::of(texts.clone(), None);
        assert_eq!(info.info, "cat");
        assert_eq!(info.items, pairs([("a", "3"), ("b", "2")]));
        assert_eq!(PictureInfo::of(texts, Some("dog".to_owned())).info, "dog");
        assert_eq!(PictureInfo::of(Vec::new(), Some(String::new())).info, "");
    }

    #[test]
    fn long_lines_take_no_longer_than_their_length() {
        let start = Instant::now();
        for piece in [
            "a",
            "a ",
            "aa:\"",
            "aa:\"\\\",",
            "aa: ",
            " ",
            "\"",
            "aa:\"b\"c,",
        ] {
            let line = piece.repeat(400_000 / piece.len());
            Infotext::parse(&line).parameters();
        }
        // Going through one of these for each of its signs would take minutes.
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{:?}",
            start.elapsed()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<String>(), line in "[a-c:,\" \\\\\n]{0,40}") {
            Infotext::parse(&text);
            Infotext::parse(&line).parameters();
        }

        #[test]
        fn what_is_written_is_read_back(
            prompt in "[a-z(][a-z,.():<> \u{e4}\u{5199}]{0,20}[a-z]",
            negative in "([a-z][a-z,]{0,20})?",
            values in prop::collection::vec("[a-z0-9\"\\\\][a-z,:\n\"\\\\ ]{0,9}[a-z\"\\\\]", 3..6),
        ) {
            let named = values.into_iter().zip(["Steps", "Seed", "Model hash", "VAE", "x/y-z"]);
            let info = Infotext {
                prompt,
                negative_prompt: negative,
                fields: named.map(|(value, name)| (name.to_owned(), value)).collect(),
            };
            prop_assert_eq!(Infotext::parse(&info.to_text()), info);
        }
    }
}
