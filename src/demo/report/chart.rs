//! Curves as pictures in the page, in the colours of its style.

use std::fmt::Write as _;

use super::html::Text;

/// Width of a chart in its own units.
const WIDTH: f64 = 420.0;
/// Height of the same.
const HEIGHT: f64 = 190.0;
/// Space for numbers at the left and at the bottom, and to breathe at the right and at the top.
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 26.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 10.0;
/// About how many lines a grid has in each direction.
const GRID: f64 = 4.0;

/// A place in a chart: step and value.
pub(super) type Point = (f64, f64);

/// What is drawn over the same steps.
pub(super) struct Chart<'a> {
    /// What it shows, for those who do not see it.
    pub(super) title: &'a str,
    /// A thin line, for what jumps.
    pub(super) thin: &'a [Point],
    /// A thick line.
    pub(super) thick: &'a [Point],
    /// Dots; those that are marked stand out.
    pub(super) dots: &'a [(Point, bool)],
}

impl Chart<'_> {
    /// The picture; nothing when there is nothing to draw.
    pub(super) fn svg(&self) -> String {
        let dots = self.dots.iter().map(|(point, _)| point);
        let points = || self.thin.iter().chain(self.thick).chain(dots.clone());
        let Some((x, y)) =
            Axis::of(points().map(|point| point.0)).zip(Axis::of(points().map(|point| point.1)))
        else {
            return String::new();
        };
        let place = |(step, value): &Point| {
            let left = LEFT + x.share(*step) * (WIDTH - LEFT - RIGHT);
            let top = TOP + (1.0 - y.share(*value)) * (HEIGHT - TOP - BOTTOM);
            (left, top)
        };
        let title = Text(self.title);
        let mut svg = format!(
            "<svg class=\"chart\" role=\"img\" aria-label=\"{title}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">"
        );
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        // Writing to a string does not fail.
        for mark in y.marks() {
            let (_, top) = place(&(x.least, mark));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {top:.1}H{right}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 7.0,
                top + 4.0,
                y.number(mark)
            );
        }
        for mark in x.marks() {
            let (left, _) = place(&(mark, y.least));
            let _ = write!(
                svg,
                "<text x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                x.number(mark)
            );
        }
        for (class, points) in [("thin", self.thin), ("thick", self.thick)] {
            if points.len() > 1 {
                let places = points.iter().map(place);
                let places: Vec<String> = places
                    .map(|(left, top)| format!("{left:.1} {top:.1}"))
                    .collect();
                let _ = write!(svg, "<path class=\"{class}\" d=\"M{}\"/>", places.join("L"));
            }
        }
        for (point, is_marked) in self.dots {
            let (left, top) = place(point);
            let (class, radius) = if *is_marked {
                ("marked", 5)
            } else {
                ("dot", 4)
            };
            let _ = write!(
                svg,
                "<circle class=\"{class}\" cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"{radius}\"/>"
            );
        }
        svg + "</svg>"
    }
}

/// The numbers along one side.
struct Axis {
    least: f64,
    most: f64,
    /// From one line of the grid to the next.
    step: f64,
}

impl Axis {
    /// From zero, or the smallest where that is below, to the next line above the largest. Numbers that
    /// are none are passed over.
    fn of(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let bounds = numbers.filter(|number| number.is_finite()).fold(
            None,
            |bounds: Option<(f64, f64)>, number| {
                let (least, most) = bounds.unwrap_or((number, number));
                Some((least.min(number), most.max(number)))
            },
        );
        let (least, most) = bounds?;
        let (least, most) = (least.min(0.0), most.max(0.0));
        let span = if most > least { most - least } else { 1.0 };
        let step = nice(span / GRID);
        Some(Self {
            least: (least / step).floor() * step,
            most: ((least + span) / step).ceil() * step,
            step,
        })
    }

    /// Where a number stands, from 0 at the begin to 1 at the end.
    fn share(&self, number: f64) -> f64 {
        let share = (number - self.least) / (self.most - self.least);
        if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.most - self.least) / self.step).round() as u32;
        (0..=count).map(|at| self.least + f64::from(at) * self.step)
    }

    /// A mark with as many digits as tell it from the next.
    fn number(&self, mark: f64) -> String {
        let digits = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        // Not "-0.0", which is what may be left of zero.
        let mark = if mark.abs() < self.step / 2.0 {
            0.0
        } else {
            mark
        };
        format!("{mark:.digits$}")
    }
}

/// The next of 1, 2, 5, 10, 20, 50, … and their tenths that is not below a number.
fn nice(number: f64) -> f64 {
    let power = 10_f64.powf(number.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= number * 0.999_999);
    factor.unwrap_or(10.0) * power
}

/// The line without its jumps: each value drawn towards those before it.
pub(super) fn smooth(points: &[Point]) -> Vec<Point> {
    const WEIGHT: f64 = 0.12;
    let mut mean = None;
    let smoothed = points.iter().map(|(step, value)| {
        let next = mean.map_or(*value, |mean: f64| mean + WEIGHT * (value - mean));
        mean = Some(next);
        (*step, next)
    });
    smoothed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers_around_everything() {
        let marks = |numbers: &[f64]| {
            let axis = Axis::of(numbers.iter().copied()).unwrap();
            axis.marks()
                .map(|mark| axis.number(mark))
                .collect::<Vec<_>>()
        };
        assert_eq!(marks(&[1.0, 200.0]), ["0", "50", "100", "150", "200"]);
        assert_eq!(marks(&[0.03, 0.137]), ["0.00", "0.05", "0.10", "0.15"]);
        assert_eq!(marks(&[-0.2, 0.7]), ["-0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(marks(&[0.0]), ["0.0", "0.5", "1.0"]);
        assert!(Axis::of([f64::NAN].into_iter()).is_none());
    }

    #[test]
    fn a_chart_has_its_lines_and_marks_its_best_dots() {
        let thin = [(1.0, 0.3), (2.0, f64::NAN), (3.0, 0.1)];
        let chart = Chart {
            title: "<loss>",
            thin: &thin,
            thick: &smooth(&[(1.0, 1.0), (2.0, 0.0)]),
            dots: &[((1.0, 0.2), false), ((3.0, 0.4), true)],
        };
        let svg = chart.svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        for part in [
            "class=\"thin\"",
            "class=\"thick\"",
            "class=\"dot\"",
            "class=\"marked\"",
            "&lt;loss&gt;",
        ] {
            assert_eq!(svg.matches(part).count(), 1, "{part}");
        }
        assert!(!svg.contains("NaN"));
        let empty = Chart {
            title: "",
            thin: &[],
            thick: &[],
            dots: &[],
        };
        assert_eq!(empty.svg(), "");
    }
}
