//! The report: one page that needs nothing but a browser. Its pictures and its style are part of it, and
//! it has no script.

mod chart;
mod html;
mod sections;

use std::fmt::Write as _;

use super::{DemoError, Outcome, Times};
use html::{Text, count, list, time};
use sections::{checks, notes, people, portraits};

/// How the page looks.
const STYLE: &str = include_str!("../../../assets/report.css");

/// The page. Nothing outside of it may be loaded, which its own policy says too.
pub(super) fn page(outcome: &Outcome) -> Result<String, DemoError> {
    let portraits = portraits(outcome)?;
    let (head, people, checks, notes) = (
        summary(outcome),
        people(outcome),
        checks(outcome),
        notes(outcome),
    );
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>photog demo</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{head}\n<main>\n\
         {portraits}\n{people}\n{checks}\n{notes}\n</main>\n</body>\n</html>\n"
    ))
}

/// What came of it, in numbers.
fn summary(outcome: &Outcome) -> String {
    let Outcome {
        portraits, times, ..
    } = outcome;
    let (right, all) = (outcome.right(), portraits.len());
    let (state, share) = if right == all {
        ("good", format!("All {all}"))
    } else {
        ("bad", format!("{right} of {all}"))
    };
    let photos: usize = outcome.checks.iter().map(|set| set.photos.len()).sum();
    let usable: usize = outcome.checks.iter().map(super::CheckedSet::usable).sum();
    let trained: Vec<_> = outcome
        .people
        .iter()
        .filter_map(|one| one.training.as_ref())
        .collect();
    let steps: u32 = trained.iter().map(|training| training.train_steps).sum();
    let tiles = [
        (
            format!("{right} of {all}"),
            String::from("portraits nearest to their person"),
        ),
        (
            count(trained.len(), "person").replace("persons", "people"),
            format!("trained, {steps} steps"),
        ),
        (
            count(photos, "photo"),
            format!("checked, {usable} usable, {} refused", photos - usable),
        ),
        (time(times.total), format!("in all, on {}", outcome.device)),
    ];
    let mut cells = String::new();
    for (number, words) in tiles {
        // Writing to a string does not fail.
        let (number, words) = (Text(&number), Text(&words));
        let _ = write!(
            cells,
            "<li><strong>{number}</strong><span>{words}</span></li>"
        );
    }
    let faults = outcome.faults();
    let faults = list("", "faults", faults.iter().map(String::as_str));
    format!(
        "<header>\n<p class=\"mark\">photog {}</p>\n<h1 class=\"{state}\">{share} portraits are \
         nearest to their own person.</h1>\n<p class=\"lead\">Photos were checked, people trained, and portraits made of them: from end to \
         end in one program on this machine, with nothing from the network.</p>\n{faults}\
         <ul class=\"tiles\">{cells}</ul>\n{}\n</header>",
        Text(env!("CARGO_PKG_VERSION")),
        stages(times)
    )
}

/// The stages as parts of one bar.
fn stages(times: &Times) -> String {
    let stages = [
        ("start", times.start),
        ("check", times.check),
        ("train", times.train),
        ("portraits", times.portraits),
        ("compare", times.compare),
    ];
    let sum = stages
        .iter()
        .map(|(_, seconds)| seconds)
        .sum::<f64>()
        .max(f64::MIN_POSITIVE);
    let (mut bar, mut legend) = (String::new(), String::new());
    for (name, seconds) in stages {
        let share = seconds / sum * 100.0;
        let _ = write!(bar, "<i class=\"{name}\" style=\"width:{share:.2}%\"></i>");
        let _ = write!(
            legend,
            "<li><i class=\"{name}\"></i>{name} <b>{}</b></li>",
            time(seconds)
        );
    }
    format!(
        "<div class=\"stages\" aria-hidden=\"true\">{bar}</div>\n<ul class=\"legend\">{legend}</ul>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::outcome::tests::outcome;

    /// Values of an attribute in a page.
    fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
        let begins = format!(" {attribute}=\"");
        page.split(&begins)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect()
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let page = page(&outcome()).unwrap();
        for word in [
            "http:", "https:", "url(", "@import", "<script", "<link", "<iframe", "href=",
        ] {
            assert!(!page.contains(word), "{word}");
        }
        let sources = values(&page, "src");
        assert!(sources.len() >= 6, "{}", sources.len());
        assert!(
            sources
                .iter()
                .all(|source| source.starts_with("data:image/jpeg;base64,"))
        );
        assert_eq!(values(&page, "srcset"), Vec::<&str>::new());
    }

    #[test]
    fn every_element_is_closed() {
        let page = page(&outcome()).unwrap();
        let (_, body) = page.split_once("<body>").unwrap();
        let (body, _) = body.split_once("</body>").unwrap();
        let mut open: Vec<&str> = Vec::new();
        for tag in body
            .split('<')
            .skip(1)
            .filter_map(|rest| rest.split('>').next())
        {
            let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "</{name}>");
            } else if name != "img" && !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn what_comes_from_elsewhere_is_text_and_nothing_more() {
        let mut outcome = outcome();
        let hostile = "<img src=\"x\" onerror='y'>";
        outcome.checks[0].photos[1].reason = Some(hostile.to_owned());
        outcome.checks[0].photos[1].message = hostile.to_owned();
        outcome.portraits[0].warnings.push(hostile.to_owned());
        outcome.people[0].name = hostile.to_owned();
        outcome.device = hostile.to_owned();
        let page = page(&outcome).unwrap();
        assert!(!page.contains("<img src"), "{page}");
        assert!(page.contains("&lt;img src=&quot;x&quot; onerror=&#39;y&#39;&gt;"));
    }

    #[test]
    fn a_portrait_of_somebody_else_is_told_first() {
        let mut outcome = outcome();
        assert!(page(&outcome).unwrap().contains("All 1 portraits"));
        outcome.portraits[0].faces[0].scores[1].1 = 0.99;
        let page = page(&outcome).unwrap();
        assert!(page.contains("0 of 1 portraits are nearest to their own person."));
        assert!(page.contains("more like carla than like alma"));
    }
}
