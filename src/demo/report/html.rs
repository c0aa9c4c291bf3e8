//! Text and pictures as parts of a page.

use std::fmt::{self, Write as _};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

/// A text in a page: what means something there is written out.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// A JPEG file in a page, with words for those who do not see it.
pub(super) struct Image<'a> {
    pub(super) jpeg: &'a [u8],
    pub(super) alt: &'a str,
}

impl fmt::Display for Image<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alt, data) = (Text(self.alt), Base64Display::new(self.jpeg, &STANDARD));
        write!(
            f,
            "<img alt=\"{alt}\" src=\"data:image/jpeg;base64,{data}\">"
        )
    }
}

/// A list of texts with a class of its own, after these words; nothing when there are none.
pub(super) fn list<'a>(before: &str, class: &str, texts: impl Iterator<Item = &'a str>) -> String {
    let mut items = String::new();
    for text in texts {
        // Writing to a string does not fail.
        let _ = write!(items, "<li>{}</li>", Text(text));
    }
    if items.is_empty() {
        return items;
    }
    format!("{before}<ul class=\"{class}\">{items}</ul>\n")
}

/// A time for people: `0.8 s`, `48 s`, `2 min 31 s`.
pub(super) fn time(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole / 60 {
        0 => format!("{whole} s"),
        minutes => format!("{minutes} min {:02} s", whole % 60),
    }
}

/// `1 photo`, `2 photos`.
pub(super) fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gives_the_page_no_orders() {
        let hostile = "<script>alert('1') && \"2\"</script>";
        assert_eq!(
            Text(hostile).to_string(),
            "&lt;script&gt;alert(&#39;1&#39;) &amp;&amp; &quot;2&quot;&lt;/script&gt;"
        );
        assert_eq!(Text("Émile, ä <").to_string(), "Émile, ä &lt;");
        let image = Image {
            jpeg: b"\xff\xd8",
            alt: "\"><b>",
        };
        assert_eq!(
            image.to_string(),
            "<img alt=\"&quot;&gt;&lt;b&gt;\" src=\"data:image/jpeg;base64,/9g=\">"
        );
    }

    #[test]
    fn a_list_without_texts_is_nothing() {
        let texts = ["a", "<b>"];
        assert_eq!(
            list("so: ", "c", texts.into_iter()),
            "so: <ul class=\"c\"><li>a</li><li>&lt;b&gt;</li></ul>\n"
        );
        assert_eq!(list("so: ", "c", [].into_iter()), "");
    }

    #[test]
    fn times_and_numbers_read_well() {
        let times = [0.04, 0.84, 9.94, 9.96, 48.4, 59.6, 151.0].map(time);
        let expected = [
            "0.0 s",
            "0.8 s",
            "9.9 s",
            "10 s",
            "48 s",
            "1 min 00 s",
            "2 min 31 s",
        ];
        assert_eq!(times, expected);
        assert_eq!(count(1, "photo"), "1 photo");
        assert_eq!(count(0, "photo"), "0 photos");
    }
}
