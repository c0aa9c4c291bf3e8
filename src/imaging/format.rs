//! Tells picture formats apart by their first bytes; file names prove nothing.

use std::fmt;

/// A picture format, as far as the first bytes tell.
///
/// Only [`Format::Jpeg`] and [`Format::Png`] can be decoded. The others are known so that a refusal
/// can say what the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG: `.jpg` and `.jpeg`.
    Jpeg,
    /// PNG.
    Png,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
    /// Windows bitmap.
    Bmp,
    /// TIFF.
    Tiff,
    /// AVIF.
    Avif,
    /// HEIC or HEIF, what many phones write.
    Heif,
}

impl Format {
    /// The format whose signature `bytes` begins with.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        let starts = |signature: &[u8]| bytes.starts_with(signature);
        let has_at = |at: usize, word: &[u8]| bytes.get(at..at + word.len()) == Some(word);
        match () {
            () if starts(b"\xff\xd8\xff") => Some(Self::Jpeg),
            () if starts(b"\x89PNG\r\n\x1a\n") => Some(Self::Png),
            () if starts(b"GIF87a") || starts(b"GIF89a") => Some(Self::Gif),
            () if starts(b"RIFF") && has_at(8, b"WEBP") => Some(Self::Webp),
            // The reserved words of the header are zero in every bitmap; two letters prove little.
            () if starts(b"BM") && has_at(6, &[0; 4]) => Some(Self::Bmp),
            () if starts(b"II*\0") || starts(b"MM\0*") => Some(Self::Tiff),
            () if has_at(4, b"ftypavif") || has_at(4, b"ftypavis") => Some(Self::Avif),
            () if [
                &b"ftypheic"[..],
                b"ftypheix",
                b"ftyphevc",
                b"ftypmif1",
                b"ftypmsf1",
            ]
            .iter()
            .any(|brand| has_at(4, brand)) =>
            {
                Some(Self::Heif)
            }
            () => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Gif => "GIF",
            Self::Webp => "WebP",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Avif => "AVIF",
            Self::Heif => "HEIC",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide_the_format() {
        let cases: [(&[u8], Option<Format>); 11] = [
            (b"\xff\xd8\xff\xe0\0\x10JFIF", Some(Format::Jpeg)),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Some(Format::Png)),
            (b"GIF89a\x01\0", Some(Format::Gif)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some(Format::Webp)),
            (b"RIFF\x10\0\0\0WAVEfmt ", None),
            (b"BM\x36\0\0\0\0\0\0\0\x36\0", Some(Format::Bmp)),
            (b"BMW is a make of car", None),
            (b"MM\0*\0\0\0\x08", Some(Format::Tiff)),
            (b"\0\0\0\x1cftypavif", Some(Format::Avif)),
            (b"\0\0\0\x18ftypheic", Some(Format::Heif)),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Format::sniff(bytes), expected, "{bytes:?}");
        }
    }
}
