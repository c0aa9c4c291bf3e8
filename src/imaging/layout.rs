//! Reads the structure of a file before any pixel is decoded: how large the picture is, how much
//! memory decoding takes, and whether the file is whole.
//!
//! The decoders would find the size as well, but one of them fills the missing part of a cut JPEG
//! with grey instead of saying so, and none of them bounds the number of scans.

use super::ImagingError;

/// Most scans of one JPEG. Encoders write about ten; each scan costs a pass over all coefficients,
/// so a tiny file with thousands of them would keep a core busy for hours.
const JPEG_SCANS_MAX: usize = 50;

/// What the structure of a file says about its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout<'a> {
    /// Width as stored, in pixels.
    pub(super) width: u32,
    /// Height as stored, in pixels.
    pub(super) height: u32,
    /// Most bytes in use at once while decoding, per pixel.
    pub(super) peak_bytes_per_pixel: u64,
    /// TIFF block with the EXIF tags, where the decoder does not find it itself.
    pub(super) exif: Option<&'a [u8]>,
}

/// Bytes per pixel of an RGB picture and its turned copy.
const TURNED_RGB_BYTES: u64 = 6;

/// Walks the segments of a JPEG up to its end marker (ITU-T T.81, annex B).
pub(super) fn of_jpeg(bytes: &[u8]) -> Result<Layout<'_>, ImagingError> {
    let mut rest = Cursor(bytes.get(2..).unwrap_or_default());
    let mut frame: Option<JpegFrame> = None;
    let mut scans = 0;
    loop {
        match rest.next_marker()? {
            0xd9 => break,
            // Restart markers, a second start and the temporary marker have no body.
            0x01 | 0xd0..=0xd8 => {}
            0xda => {
                scans += 1;
                if scans > JPEG_SCANS_MAX {
                    return Err(ImagingError::Damaged("it has too many scans"));
                }
                let components = rest.segment()?.first();
                if let Some(frame) = &mut frame {
                    frame.is_interleaved &= components == Some(&frame.components);
                }
            }
            marker @ 0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                if frame.is_some() {
                    return Err(ImagingError::Damaged("it has two frame headers"));
                }
                frame = Some(jpeg_frame(marker, rest.segment()?)?);
            }
            _ => {
                rest.segment()?;
            }
        }
    }
    match frame {
        Some(frame) if scans > 0 => Ok(frame.layout()),
        _ => Err(ImagingError::Damaged("it holds no picture")),
    }
}

/// What the header of a JPEG's frame says.
struct JpegFrame {
    width: u16,
    height: u16,
    components: u8,
    is_progressive: bool,
    /// Every scan so far holds all components.
    is_interleaved: bool,
}

impl JpegFrame {
    fn layout(&self) -> Layout<'static> {
        // Where several scans make up one block of pixels, its coefficients, two bytes each, are
        // kept until the last of them.
        let coefficients = if self.is_progressive || !self.is_interleaved {
            2 * u64::from(self.components)
        } else {
            0
        };
        Layout {
            width: u32::from(self.width),
            height: u32::from(self.height),
            peak_bytes_per_pixel: (coefficients + 3).max(TURNED_RGB_BYTES),
            exif: None,
        }
    }
}

fn jpeg_frame(marker: u8, body: &[u8]) -> Result<JpegFrame, ImagingError> {
    let &[_precision, h1, h0, w1, w0, components, ..] = body else {
        return Err(ImagingError::Truncated);
    };
    Ok(JpegFrame {
        width: u16::from_be_bytes([w1, w0]),
        height: u16::from_be_bytes([h1, h0]),
        components,
        is_progressive: matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce),
        is_interleaved: true,
    })
}

/// The part of a JPEG that is still to be read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Moves behind the next marker and returns its second byte. Compressed data in between, with
    /// its stuffed zeros, is passed over.
    fn next_marker(&mut self) -> Result<u8, ImagingError> {
        loop {
            let at = self.0.iter().position(|&byte| byte == 0xff);
            let at = at.ok_or(ImagingError::Truncated)?;
            let marker = *self.0.get(at + 1).ok_or(ImagingError::Truncated)?;
            if marker == 0xff {
                // Any number of 0xff may stand before a marker.
                self.0 = &self.0[at + 1..];
                continue;
            }
            self.0 = &self.0[at + 2..];
            if marker != 0 {
                return Ok(marker);
            }
        }
    }

    /// The body of the segment whose marker was just read.
    fn segment(&mut self) -> Result<&'a [u8], ImagingError> {
        let length = self.0.first_chunk().map(|word| u16::from_be_bytes(*word));
        let length = usize::from(length.ok_or(ImagingError::Truncated)?);
        if length < 2 {
            return Err(ImagingError::Damaged("a segment has an impossible length"));
        }
        let (segment, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(ImagingError::Truncated)?;
        self.0 = rest;
        Ok(&segment[2..])
    }
}

/// Walks the chunks of a PNG up to `IEND` (PNG specification, third edition, section 5).
pub(super) fn of_png(bytes: &[u8]) -> Result<Layout<'_>, ImagingError> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    let mut layout: Option<Layout<'_>> = None;
    loop {
        let (head, after) = rest
            .split_first_chunk::<8>()
            .ok_or(ImagingError::Truncated)?;
        let [l3, l2, l1, l0, name @ ..] = *head;
        let length = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
        let body = after.get(..length).ok_or(ImagingError::Truncated)?;
        // Four bytes of check sum follow the body; the decoder compares them.
        rest = after.get(length + 4..).ok_or(ImagingError::Truncated)?;
        match (&name, &mut layout) {
            (b"IHDR", None) => layout = Some(png_header(body)?),
            (_, None) => return Err(ImagingError::Damaged("its header is missing")),
            (b"eXIf", Some(known)) => known.exif = Some(body),
            (b"IEND", Some(known)) => return Ok(*known),
            _ => {}
        }
    }
}

fn png_header(body: &[u8]) -> Result<Layout<'_>, ImagingError> {
    let &[w3, w2, w1, w0, h3, h2, h1, h0, depth, color, ..] = body else {
        return Err(ImagingError::Damaged("its header is too short"));
    };
    let sample_bytes = if depth == 16 { 2 } else { 1 };
    let samples = match color {
        0 => 1,
        4 => 2,
        2 => 3,
        // A palette may expand to colour with transparency.
        _ => 4,
    };
    Ok(Layout {
        width: u32::from_be_bytes([w3, w2, w1, w0]),
        height: u32::from_be_bytes([h3, h2, h1, h0]),
        // The picture as stored beside its copy with four 8-bit samples, then that beside RGB.
        peak_bytes_per_pixel: (samples * sample_bytes + 4).max(7),
        exif: None,
    })
}
