//! Progress of long work, on standard error: a bar on a terminal, a plain line now and then
//! otherwise.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Work that is done before is not shown.
const FIRST_AFTER: Duration = Duration::from_secs(2);
/// From then on there is a line this often, where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Parts of a hundred.
    Percent,
}

impl Unit {
    /// The bar where the end is known.
    const fn bar(self) -> &'static str {
        match self {
            Self::Bytes => "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {eta} left",
            Self::Count => "{msg} [{bar:30}] {pos} of {len}, {eta} left",
            Self::Percent => "{msg} [{bar:30}] {pos} %, {eta} left",
        }
    }

    /// The line where it is not.
    const fn counter(self) -> &'static str {
        match self {
            Self::Bytes => "{msg} {binary_bytes}",
            Self::Count => "{msg} {pos}",
            Self::Percent => "{msg} {pos} %",
        }
    }

    fn text(self, number: u64) -> String {
        match self {
            Self::Bytes => size(number),
            Self::Count => number.to_string(),
            Self::Percent => format!("{number} %"),
        }
    }
}

/// Shows how much of some work is done, once it has lasted two seconds.
pub struct Progress {
    name: String,
    unit: Unit,
    /// When there is next something to show.
    next: Instant,
    /// On a terminal, from the first time on.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins to watch work of this name.
    pub fn new(name: &str, unit: Unit) -> Self {
        Self {
            name: name.to_owned(),
            unit,
            next: Instant::now() + FIRST_AFTER,
            bar: None,
        }
    }

    /// Calls the work by another name from now on.
    pub fn rename(&mut self, name: &str) {
        if self.name != name {
            name.clone_into(&mut self.name);
            if let Some(bar) = &self.bar {
                bar.set_message(self.name.clone());
            }
        }
    }

    /// So much is done, of so much where that is known.
    pub fn set(&mut self, done: u64, total: Option<u64>) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        if !io::stderr().is_terminal() {
            if let Some(line) = self.line(now, done, total) {
                // Who closed standard error does not want to read it.
                let _ = writeln!(io::stderr(), "{line}");
            }
            return;
        }
        let unit = self.unit;
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::no_length().with_message(self.name.clone());
            bar.set_style(style(unit.counter()));
            bar
        });
        if let Some(total) = total
            && bar.length() != Some(total)
        {
            bar.set_length(total);
            bar.set_style(style(unit.bar()));
        }
        bar.set_position(done);
    }

    /// Takes the bar away: what came of the work is said elsewhere.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The line that is due, if one is.
    fn line(&mut self, now: Instant, done: u64, total: Option<u64>) -> Option<String> {
        if now < self.next {
            return None;
        }
        self.next = now + LINE_EVERY;
        let (name, is) = (&self.name, self.unit.text(done));
        let of = total.filter(|total| *total > 0 && self.unit != Unit::Percent);
        Some(match of {
            Some(total) => {
                let percent = u128::from(done) * 100 / u128::from(total);
                format!("{name}: {is} of {}, {percent} %", self.unit.text(total))
            }
            None => format!("{name}: {is}"),
        })
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants, and a test reads them.
    ProgressStyle::with_template(template)
        .expect("the template is well-formed")
        .progress_chars("=> ")
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
        for unit in [Unit::Bytes, Unit::Count, Unit::Percent] {
            let _ = (style(unit.bar()), style(unit.counter()));
        }
    }

    #[test]
    fn lines_come_after_two_seconds_and_then_every_five() {
        let mut lines = Progress::new("sface", Unit::Bytes);
        let start = Instant::now();
        lines.next = start + FIRST_AFTER;
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
        let mut photos = Progress::new("checking photos", Unit::Count);
        assert_eq!(
            photos.line(later, 3, Some(12)).unwrap(),
            "checking photos: 3 of 12, 25 %"
        );
        let mut training = Progress::new("training alma", Unit::Percent);
        assert_eq!(
            training.line(later, 40, Some(100)).unwrap(),
            "training alma: 40 %"
        );
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
