//! The contact sheet: a row for each portrait with its people, template, and likeness.

use super::{
    DemoError, Outcome, PortraitMade,
    canvas::{Area, Color, fill, place, write},
    font,
    thumbnail::decode,
};
use crate::imaging::{RgbImage, write_jpeg};

/// Space around everything and between rows and columns, in pixels.
const GAP: u32 = 20;
/// Sides of a picture's cell.
const CELL: u32 = 260;
/// Width of the scores.
const SCORES_WIDTH: u32 = 330;
/// Height of the line above the rows.
const HEAD: u32 = 34;
/// Pixels of one pixel of a sign.
const SIZE: u32 = 2;
/// Height of one score with the space below it.
const SCORE_HEIGHT: u32 = 24;
/// Height of a bar.
const BAR_HEIGHT: u32 = 14;
/// Where bars begin, counted from the left side of the scores, and how long the longest is.
const BAR: (u32, u32) = (96, 160);
/// Quality of the file.
const QUALITY: u8 = 92;

const PAPER: Color = [250, 249, 246];
const INK: Color = [38, 36, 33];
const FAINT: Color = [140, 135, 126];
const TRACK: Color = [229, 226, 219];
const OTHER: Color = [172, 167, 157];
const RIGHT: Color = [32, 128, 92];
const WRONG: Color = [192, 57, 43];

/// Titles of the columns.
const TITLES: [&str; 4] = ["PERSON", "TEMPLATE", "PORTRAIT", "LIKENESS"];

/// Draws it, as a JPEG file.
pub(super) fn draw(outcome: &Outcome) -> Result<Vec<u8>, DemoError> {
    let rows = outcome.portraits.len() as u32;
    let (width, height) = size(rows);
    let mut sheet = RgbImage::from_pixel(width, height, PAPER.into());
    for (column, title) in TITLES.into_iter().enumerate() {
        let left = cell(0, column as u32).left;
        write(&mut sheet, title, (left, GAP), SIZE, FAINT);
    }
    for (portrait, row) in outcome.portraits.iter().zip(0..) {
        draw_row(&mut sheet, outcome, portrait, row)?;
    }
    write_jpeg(&sheet, QUALITY).map_err(DemoError::picture("the contact sheet"))
}

/// Width and height of a sheet with so many rows.
fn size(rows: u32) -> (u32, u32) {
    let width = GAP + 3 * (CELL + GAP) + SCORES_WIDTH + GAP;
    (width, GAP + HEAD + rows * (CELL + GAP))
}

/// The cell of a row and column; the last column is as wide as the scores.
fn cell(row: u32, column: u32) -> Area {
    Area {
        left: GAP + column * (CELL + GAP),
        top: GAP + HEAD + row * (CELL + GAP),
        width: if column == 3 { SCORES_WIDTH } else { CELL },
        height: CELL,
    }
}

/// A cell divided into so many side by side.
fn parts(cell: Area, count: u32) -> impl Iterator<Item = Area> {
    let width = (cell.width / count.max(1)).max(1);
    (0..count).map(move |at| Area {
        left: cell.left + at * width,
        width,
        ..cell
    })
}

fn draw_row(
    sheet: &mut RgbImage,
    outcome: &Outcome,
    portrait: &PortraitMade,
    row: u32,
) -> Result<(), DemoError> {
    let areas = parts(cell(row, 0), portrait.faces.len() as u32);
    for (face, area) in portrait.faces.iter().zip(areas) {
        let person = outcome.people.iter().find(|one| one.name == face.model_id);
        if let Some(person) = person {
            place(sheet, &decode(&person.name, &person.reference)?, area);
        }
    }
    let template = decode(&portrait.template.name, portrait.template.bytes)?;
    place(sheet, &template, cell(row, 1));
    place(
        sheet,
        &decode(&portrait.file, &portrait.jpeg)?,
        cell(row, 2),
    );
    draw_scores(sheet, portrait, cell(row, 3));
    Ok(())
}

/// Writes the scores of each face: bars that stand for 0 to 1, the highest one in colour.
fn draw_scores(sheet: &mut RgbImage, portrait: &PortraitMade, area: Area) {
    let (left, mut top) = (area.left, area.top);
    for face in &portrait.faces {
        let color = if face.is_right() { RIGHT } else { WRONG };
        let found = if face.scores.is_empty() {
            "no face"
        } else {
            "face"
        };
        let title = format!("{found} of {}", face.model_id);
        write(sheet, &title, (left, top), SIZE, color);
        let beside = left + BAR.0;
        top += SCORE_HEIGHT;
        for (name, score) in &face.scores {
            let is_highest = face.nearest() == Some(name);
            let (ink, bar) = if is_highest {
                (INK, color)
            } else {
                (FAINT, OTHER)
            };
            write(sheet, name, (left, top), SIZE, ink);
            let track = Area {
                left: beside,
                top,
                width: BAR.1,
                height: BAR_HEIGHT,
            };
            fill(sheet, track, TRACK);
            let filled = Area {
                width: (score.clamp(0.0, 1.0) * BAR.1 as f32).round() as u32,
                ..track
            };
            fill(sheet, filled, bar);
            let number = format!("{score:.2}");
            let right = area.left + area.width;
            let at = right.saturating_sub(font::width(&number) * SIZE);
            write(sheet, &number, (at, top), SIZE, ink);
            top += SCORE_HEIGHT;
        }
        top += GAP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::outcome::tests::outcome;

    #[test]
    fn cells_do_not_touch_and_lie_inside() {
        let (width, height) = size(5);
        for row in 0..5 {
            for column in 0..4 {
                let cell = cell(row, column);
                assert!(cell.left + cell.width + GAP <= width);
                assert!(cell.top + cell.height + GAP <= height);
                if column > 0 {
                    let before = super::cell(row, column - 1);
                    assert_eq!(before.left + before.width + GAP, cell.left);
                }
            }
        }
        let halves: Vec<_> = parts(cell(1, 0), 2)
            .map(|half| (half.left, half.width))
            .collect();
        assert_eq!(halves, [(GAP, CELL / 2), (GAP + CELL / 2, CELL / 2)]);
    }

    #[test]
    fn bars_numbers_and_names_fit_beside_each_other() {
        let (_, longest) = BAR;
        assert!(BAR.0 + longest + font::width("-0.00") * SIZE <= SCORES_WIDTH);
        // Two faces with three scores each.
        const { assert!(2 * (4 * SCORE_HEIGHT + GAP) <= CELL + GAP) };
    }

    #[test]
    fn a_sheet_shows_person_template_portrait_and_the_colour_of_the_verdict() {
        let mut outcome = outcome();
        let has = |outcome: &Outcome, color: Color, area: Area| {
            let sheet = decode("the sheet", &draw(outcome).unwrap()).unwrap();
            assert_eq!(sheet.dimensions(), size(1));
            sheet.enumerate_pixels().any(|(x, y, pixel)| {
                let inside = x >= area.left && x < area.left + area.width && y >= area.top;
                let near = pixel.0.iter().zip(color).all(|(a, b)| a.abs_diff(b) < 24);
                inside && near
            })
        };
        for column in 0..3 {
            assert!(has(&outcome, [90, 120, 150], cell(0, column)), "{column}");
        }
        assert!(has(&outcome, RIGHT, cell(0, 3)));
        outcome.portraits[0].faces[0].scores[0].1 = -0.5;
        assert!(has(&outcome, WRONG, cell(0, 3)) && !has(&outcome, RIGHT, cell(0, 3)));
    }
}
