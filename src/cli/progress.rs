//! Progress of long work, on standard error: a bar on a terminal, a plain line now and then
//! otherwise.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Work that is done before needs no line.
const FIRST_LINE_AFTER: Duration = Duration::from_secs(2);
/// From then on there is a line this often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The bar where the end is known.
const BAR: &str = "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {eta} left";
/// The line where it is not.
const COUNTER: &str = "{msg} {binary_bytes}";

/// Shows how many bytes of something are done.
pub struct Progress(Shown);

enum Shown {
    Bar(ProgressBar),
    Lines(Lines),
}

impl Progress {
    /// Begins to show work of this name.
    pub fn new(name: &str) -> Self {
        Self(if io::stderr().is_terminal() {
            let bar = ProgressBar::no_length().with_message(name.to_owned());
            bar.set_style(style(COUNTER));
            Shown::Bar(bar)
        } else {
            Shown::Lines(Lines::new(name, Instant::now()))
        })
    }

    /// So many bytes are done, of so many where that is known.
    pub fn set(&mut self, done: u64, total: Option<u64>) {
        match &mut self.0 {
            Shown::Bar(bar) => {
                if let Some(total) = total
                    && bar.length() != Some(total)
                {
                    bar.set_length(total);
                    bar.set_style(style(BAR));
                }
                bar.set_position(done);
            }
            Shown::Lines(lines) => {
                if let Some(line) = lines.line(Instant::now(), done, total) {
                    // Who closed standard error does not want to read it.
                    let _ = writeln!(io::stderr(), "{line}");
                }
            }
        }
    }

    /// Takes the bar away: what came of the work is said elsewhere.
    pub fn end(self) {
        if let Shown::Bar(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants, and a test reads them.
    ProgressStyle::with_template(template)
        .expect("the template is well-formed")
        .progress_chars("=> ")
}

/// Decides when a line is due.
struct Lines {
    name: String,
    next: Instant,
}

impl Lines {
    fn new(name: &str, now: Instant) -> Self {
        Self {
            name: name.to_owned(),
            next: now + FIRST_LINE_AFTER,
        }
    }

    fn line(&mut self, now: Instant, done: u64, total: Option<u64>) -> Option<String> {
        if now < self.next {
            return None;
        }
        self.next = now + LINE_EVERY;
        let name = &self.name;
        Some(match total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = u128::from(done) * 100 / u128::from(total);
                format!("{name}: {} of {}, {percent} %", size(done), size(total))
            }
            None => format!("{name}: {}", size(done)),
        })
    }
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_well_formed() {
        let _ = (style(BAR), style(COUNTER));
    }

    #[test]
    fn lines_come_after_two_seconds_and_then_every_five() {
        let start = Instant::now();
        let mut lines = Lines::new("sface", start);
        let heard: Vec<_> = (0..12)
            .filter_map(|second| {
                let now = start + Duration::from_secs(second);
                lines.line(now, second << 20, Some(16 << 20))
            })
            .collect();
        let expected = [
            "sface: 2.0 MiB of 16.0 MiB, 12 %",
            "sface: 7.0 MiB of 16.0 MiB, 43 %",
        ];
        assert_eq!(heard, expected);
        let later = start + Duration::from_secs(60);
        assert_eq!(lines.line(later, 9, None).unwrap(), "sface: 9 bytes");
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 1023, 1024, 322_906, 1 << 20, 5 << 30, 5 << 40].map(size);
        let expected = [
            "0 bytes",
            "1023 bytes",
            "1.0 KiB",
            "315.3 KiB",
            "1.0 MiB",
            "5.0 GiB",
            "5120.0 GiB",
        ];
        assert_eq!(sizes, expected);
    }
}
