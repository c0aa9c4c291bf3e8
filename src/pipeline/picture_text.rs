//! What a picture file says of itself, for callers that have the file as a text.

use super::{
    generate::infotext::{Infotext, PictureInfo},
    reply::Failure,
};
use crate::{
    domain::{MIB, Problem},
    fetch,
    imaging::{exif_comment, png_text},
};

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * MIB;

/// The texts of a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PictureText {
    /// What the picture was made of; empty if the file does not say it.
    pub info: String,
    /// Its other texts, by their keys.
    pub items: Vec<(String, String)>,
    /// The names and values in `info`.
    pub parameters: Vec<(String, String)>,
}

/// Reads the texts of a picture that is given in base64 or as a `data:` URL. Its pixels are not
/// looked at.
pub fn picture_text(picture: &str) -> Result<PictureText, Failure> {
    let file = fetch::inline_picture(picture.trim(), FILE_BYTES_MAX)
        .map_err(|error| Failure::new(Problem::ImageDecodeFailed, error.to_string()))?;
    let PictureInfo { info, items } = PictureInfo::of(
        png_text::read_texts(&file),
        exif_comment::read_comment(&file),
    );
    let parameters = Infotext::parse(&info).parameters();
    Ok(PictureText {
        info,
        items,
        parameters,
    })
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;
    use crate::imaging::{RgbImage, png_text::TextItem};

    #[test]
    fn texts_are_read_from_base64_and_from_a_data_url() {
        let item = |key: &str, text: &str| TextItem {
            key: key.to_owned(),
            text: text.to_owned(),
        };
        let made_of = "a cat\nSteps: 20, Sampler: Euler, Seed: 5";
        let items = [item("parameters", made_of), item("Software", "mine")];
        let file = png_text::write_png(&RgbImage::new(2, 2), &items).unwrap();
        let bare = BASE64_STANDARD.encode(file);
        for picture in [format!("data:image/png;base64,{bare}"), bare] {
            let text = picture_text(&picture).unwrap();
            assert_eq!(text.info, made_of);
            assert_eq!(
                text.items,
                [(String::from("Software"), String::from("mine"))]
            );
            let steps = (String::from("Steps"), String::from("20"));
            assert!(text.parameters.contains(&steps));
        }
    }

    #[test]
    fn what_is_no_picture_is_refused_and_not_fetched() {
        for picture in [
            "",
            "aGVsbG8=",
            "http://127.0.0.1/a.png",
            "/photog_oss/a.png",
        ] {
            let failure = picture_text(picture).unwrap_err();
            assert_eq!(failure.problem, Problem::ImageDecodeFailed, "{picture}");
        }
    }
}
