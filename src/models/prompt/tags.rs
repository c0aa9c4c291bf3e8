//! Networks that a prompt asks for in its text: `<lora:name:0.8>`.

use super::{PromptError, check_length, check_weight, number};

/// Kinds of tag that mean a LoRA; the second was another extension's for the same files.
const LORA_KINDS: [&str; 2] = ["lora", "lyco"];

/// A prompt and the networks that it asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tags {
    /// The prompt without its tags; nothing else is changed, white space neither.
    pub text: String,
    /// LoRA files, in order.
    pub loras: Vec<LoraTag>,
    /// All other tags, in order, for the caller to refuse or to leave out.
    pub others: Vec<OtherTag>,
}

/// A LoRA that is to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraTag {
    /// As it was written. It comes from outside: look it up in a list, never join it to a path.
    pub name: String,
    /// What its change of the text encoder is multiplied with.
    pub text_weight: f32,
    /// What its change of the UNet is multiplied with.
    pub unet_weight: f32,
    /// Most ranks of each of its matrices that are used; all of them if there is no number.
    pub rank_max: Option<u32>,
    /// Names of arguments that mean nothing here, such as other extensions have.
    pub unknown: Vec<String>,
}

/// A tag that is no LoRA, such as `<hypernet:name:1>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherTag {
    /// What stands before the first colon.
    pub kind: String,
    /// What stands after it.
    pub arguments: String,
}

/// Takes all tags out of a prompt.
///
/// A tag is `<`, a word, a colon, and anything up to the next `>`. For a LoRA that is
/// `name:text:unet:rank`, where later ones may be missing: a missing weight of the text encoder is
/// 1, and a missing weight of the UNet that of the text encoder. These three may also be named, as
/// `te=0.5`, `unet=1` and `dyn=8`, and a named one counts before one by place.
///
/// [`PromptError`] when the prompt is too long, or a LoRA has no name or a number that is none.
pub fn take_tags(text: &str) -> Result<Tags, PromptError> {
    check_length(text)?;
    let mut tags = Tags::default();
    // No tag begins after the last `>`.
    let (mut rest, tail) = text.split_at(text.rfind('>').map_or(0, |last| last + 1));
    while let Some(at) = rest.find('<') {
        tags.text += &rest[..at];
        let Some((kind, arguments, after)) = tag(&rest[at..]) else {
            tags.text.push('<');
            rest = &rest[at + 1..];
            continue;
        };
        rest = after;
        if LORA_KINDS.contains(&kind) {
            let number = tags.loras.len() + 1;
            tags.loras.push(lora(number, arguments)?);
        } else {
            tags.others.push(OtherTag {
                kind: kind.to_owned(),
                arguments: arguments.to_owned(),
            });
        }
    }
    tags.text += rest;
    tags.text += tail;
    Ok(tags)
}

/// The kind and the arguments of the tag that `text` begins with, and what follows.
fn tag(text: &str) -> Option<(&str, &str, &str)> {
    let inner = text.strip_prefix('<')?;
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let (kind, rest) = inner.split_at(inner.find(|letter| !is_word(letter))?);
    let (arguments, after) = rest.strip_prefix(':')?.split_once('>')?;
    (!kind.is_empty() && !arguments.is_empty()).then_some((kind, arguments, after))
}

fn lora(number: usize, arguments: &str) -> Result<LoraTag, PromptError> {
    let refused = |reason| PromptError::Tag { number, reason };
    let mut by_place = [None; 4];
    let [mut text, mut unet, mut rank] = [None; 3];
    let mut unknown = Vec::new();
    let mut places = by_place.iter_mut();
    for argument in arguments.split(':') {
        match named(argument) {
            Some(("te", value)) => text = Some(value),
            Some(("unet", value)) => unet = Some(value),
            Some(("dyn", value)) => rank = Some(value),
            Some((other, _)) => unknown.push(other.to_owned()),
            None => {
                let place = places.next();
                *place.ok_or_else(|| refused("has too many arguments"))? = Some(argument);
            }
        }
    }
    let [name, text_place, unet_place, rank_place] = by_place;
    let name = name.filter(|name| !name.trim().is_empty());
    let weight = |weight: &str| {
        let weight =
            self::number(weight).ok_or_else(|| refused("has a weight that is no number"))?;
        check_weight(weight).map(|weight| weight as f32)
    };
    let text_weight = text.or(text_place).map_or(Ok(1.0), weight)?;
    let rank = rank.or(rank_place).map(|rank| rank.trim().parse());
    Ok(LoraTag {
        name: name.ok_or_else(|| refused("has no name"))?.to_owned(),
        text_weight,
        unet_weight: unet.or(unet_place).map_or(Ok(text_weight), weight)?,
        rank_max: rank
            .transpose()
            .map_err(|_| refused("has a rank that is no number"))?,
        unknown,
    })
}

/// An argument with a name: it has exactly one sign of equality.
fn named(argument: &str) -> Option<(&str, &str)> {
    argument
        .split_once('=')
        .filter(|(_, value)| !value.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora_of(arguments: &str) -> LoraTag {
        let tags = take_tags(&format!("<lora:{arguments}>")).unwrap();
        assert_eq!((tags.text.as_str(), tags.loras.len()), ("", 1));
        tags.loras[0].clone()
    }

    fn weights(arguments: &str) -> (f32, f32, Option<u32>) {
        let lora = lora_of(arguments);
        (lora.text_weight, lora.unet_weight, lora.rank_max)
    }

    #[test]
    fn tags_are_taken_out_of_the_text() {
        let tags = take_tags("a <lora:one:0.5>photo, <lyco:two> <hypernet:three:1>b").unwrap();
        assert_eq!(tags.text, "a photo,  b");
        let names: Vec<&str> = tags.loras.iter().map(|lora| lora.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        let other = OtherTag {
            kind: "hypernet".into(),
            arguments: "three:1".into(),
        };
        assert_eq!(tags.others, [other]);
    }

    #[test]
    fn text_that_is_no_tag_stays() {
        for text in [
            "a < b",
            "<3",
            "<a>",
            "<:x>",
            "<lora:>",
            "<lora:a",
            "a > <lora:b",
            "\u{e9}<",
            "<a b:c>",
        ] {
            let tags = take_tags(text).unwrap();
            assert_eq!(tags.text, text);
            assert!(tags.loras.is_empty() && tags.others.is_empty());
        }
        assert_eq!(take_tags("<<lora:a>>").unwrap().text, "<>");
    }

    #[test]
    fn weights_stand_in_their_place_or_have_a_name() {
        assert_eq!(weights("a"), (1.0, 1.0, None));
        assert_eq!(weights("a:0.5"), (0.5, 0.5, None));
        assert_eq!(weights("a:0.5:-2"), (0.5, -2.0, None));
        assert_eq!(weights("a:0.5:2:8"), (0.5, 2.0, Some(8)));
        assert_eq!(weights("a:te=0.5"), (0.5, 0.5, None));
        assert_eq!(weights("a:unet=0.5"), (1.0, 0.5, None));
        assert_eq!(
            weights("a:0.3:te=0.5:unet= 1e-1 :dyn=4"),
            (0.5, 0.1, Some(4))
        );
        assert_eq!(weights("unet=0:a:0.7"), (0.7, 0.0, None));
    }

    #[test]
    fn arguments_of_others_are_named() {
        let lora = lora_of("a b.c=d=e:1:lbw=OUTALL");
        assert_eq!(lora.name, "a b.c=d=e");
        assert_eq!(lora.unknown, ["lbw"]);
    }

    #[test]
    fn a_lora_that_cannot_be_read_is_refused_by_its_number() {
        let cases = [
            ("a:strong", "weight"),
            ("a:", "weight"),
            ("a:inf", "weight"),
            ("a:1:nan", "weight"),
            ("a:te=", "weight"),
            ("a:1:1:1.5", "rank"),
            ("a:dyn=-1", "rank"),
            (":1", "name"),
            ("te=1", "name"),
            ("a:1:1:1:1", "many"),
        ];
        for (arguments, word) in cases {
            let refusal = take_tags(&format!("<lora:fine><lora:{arguments}>")).unwrap_err();
            assert!(
                matches!(refusal, PromptError::Tag { number: 2, .. }),
                "{arguments}"
            );
            assert!(refusal.to_string().contains(word), "{arguments}: {refusal}");
        }
        let large = take_tags("<lora:a:1e9>");
        assert!(matches!(large, Err(PromptError::Weight { .. })));
    }

    #[test]
    fn many_open_brackets_take_no_long_time() {
        let text = "<a:".repeat(super::super::PROMPT_BYTES_MAX / 3);
        assert_eq!(take_tags(&text).unwrap().text, text);
        let text = format!("{}>", "<".repeat(super::super::PROMPT_BYTES_MAX - 1));
        assert_eq!(take_tags(&text).unwrap().text, text);
    }
}
