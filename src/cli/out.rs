//! Standard output, which carries results only; everything else goes to the log.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

/// Prints a line.
pub fn line(text: &str) -> io::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints one JSON document.
pub fn json(value: &serde_json::Value) -> io::Result<()> {
    line(&format!("{value:#}"))
}

/// Prints bytes and makes sure they leave: a reader may wait for this very line.
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Lays cells out in columns, two spaces apart; the last column is as long as it likes.
///
/// Cells may hold names of files. Control characters, which terminals obey, are left out.
pub fn table(rows: &[Vec<String>]) -> String {
    let plain = |cell: &String| cell.chars().filter(|sign| !sign.is_control()).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(plain).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_spaces() {
        let rows = [
            vec!["a".to_owned(), "bb".to_owned()],
            vec!["ccc".to_owned(), String::new()],
        ];
        assert_eq!(table(&rows), "a    bb\nccc\n");
    }

    #[test]
    fn a_name_gives_the_terminal_no_orders() {
        let rows = [vec!["\u{1b}[2Ja\n.jpg".to_owned(), "b".to_owned()]];
        assert_eq!(table(&rows), "[2Ja.jpg  b\n");
    }
}
