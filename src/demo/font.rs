//! Letters, digits and the signs of file names, each of five by seven pixels: enough to write a name and
//! a number into a picture without a file of fonts.

/// Columns of a sign.
pub(super) const WIDTH: u32 = 5;
/// Rows of a sign.
pub(super) const HEIGHT: u32 = 7;
/// Columns from one sign to the next.
pub(super) const ADVANCE: u32 = WIDTH + 1;

/// Rows from the top down, the leftmost column in the highest of five bits.
#[rustfmt::skip]
const SIGNS: [(char, [u8; HEIGHT as usize]); 39] = [
    ('A', [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('B', [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110]),
    ('C', [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110]),
    ('D', [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('E', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111]),
    ('F', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000]),
    ('G', [0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01110]),
    ('H', [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('I', [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('J', [0b00111, 0b00010, 0b00010, 0b00010, 0b00010, 0b10010, 0b01100]),
    ('K', [0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001]),
    ('L', [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111]),
    ('M', [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001]),
    ('N', [0b10001, 0b11001, 0b10101, 0b10101, 0b10011, 0b10001, 0b10001]),
    ('O', [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('P', [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000]),
    ('Q', [0b01110, 0b10001, 0b10001, 0b10001, 0b10101, 0b10010, 0b01101]),
    ('R', [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001]),
    ('S', [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('T', [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('U', [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('V', [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100]),
    ('W', [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001]),
    ('X', [0b10001, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b10001]),
    ('Y', [0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('Z', [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b11111]),
    ('0', [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110]),
    ('1', [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('2', [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111]),
    ('3', [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('4', [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010]),
    ('5', [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110]),
    ('6', [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110]),
    ('7', [0b11111, 0b00001, 0b00010, 0b00100, 0b00100, 0b01000, 0b01000]),
    ('8', [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110]),
    ('9', [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100]),
    ('.', [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100]),
    ('-', [0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000]),
    ('_', [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b11111]),
];

/// Columns of a text.
pub(super) fn width(text: &str) -> u32 {
    (text.chars().count() as u32 * ADVANCE).saturating_sub(ADVANCE - WIDTH)
}

/// The pixels of a text, from its left upper corner. Small letters are written as large ones, and what
/// there is no sign for as a space.
pub(super) fn pixels(text: &str) -> impl Iterator<Item = (u32, u32)> {
    let signs = text.chars().zip(0_u32..);
    signs.flat_map(|(sign, place)| {
        let sign = sign.to_ascii_uppercase();
        let known = SIGNS.iter().find(|(known, _)| *known == sign);
        let rows = known.map_or([0; HEIGHT as usize], |(_, rows)| *rows);
        rows.into_iter().zip(0_u32..).flat_map(move |(row, y)| {
            let inked = (0..WIDTH).filter(move |x| row >> (WIDTH - 1 - x) & 1 == 1);
            inked.map(move |x| (place * ADVANCE + x, y))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn signs_differ_and_stay_in_their_columns() {
        let mut seen = BTreeSet::new();
        for (sign, rows) in SIGNS {
            assert!(seen.insert(rows), "{sign} looks like another sign");
            assert!(rows.iter().all(|row| *row < 1 << WIDTH), "{sign}");
            let inked = pixels(&sign.to_string()).count();
            assert!(inked > 3, "{sign}");
        }
    }

    #[test]
    fn a_text_reads_from_left_to_right() {
        assert_eq!(width(""), 0);
        assert_eq!(width("0.8"), 17);
        let one: Vec<_> = pixels("1").collect();
        let after_a_space: Vec<_> = pixels("\u{e9}1").collect();
        let moved: Vec<_> = one.iter().map(|(x, y)| (x + ADVANCE, *y)).collect();
        assert_eq!(after_a_space, moved);
        assert!(pixels("a").eq(pixels("A")));
    }
}
