//! The parts of the page: portraits, people, checks, notes.

use std::fmt::Write as _;

use super::{
    chart::{Chart, Point, smooth},
    html::{Image, Text, count, list, time},
};
use crate::demo::{
    CheckedPhoto, CheckedSet, DemoError, Outcome, PortraitFace, PortraitMade, SamplePerson,
    Training, thumbnail::thumbnail,
};

/// Longest side of a template in the page, in pixels.
const TEMPLATE_SIDE: u32 = 640;
/// Colours of people are numbered up to here and then begin anew.
const COLORS: usize = 6;

/// What each portrait was made from, and whom its faces are like.
pub(super) fn portraits(outcome: &Outcome) -> Result<String, DemoError> {
    let mut cards = String::new();
    for portrait in &outcome.portraits {
        cards += &portrait_card(outcome, portrait)?;
    }
    Ok(format!(
        "<section>\n<h2>Portraits</h2>\n<p class=\"about\">Each trained person was put into templates. The \
         bars say how like each sample person a face is: the cosine between it and the mean of all photos \
         of that person, by the face network of the pack. {}</p>\n<div class=\"portraits\">{cards}</div>\n\
         </section>",
        stranger(outcome)
    ))
}

fn stranger(outcome: &Outcome) -> String {
    let strangers = outcome.people.iter();
    let strangers = strangers.filter(|person| person.training.is_none());
    strangers
        .map(|person| {
            let name = Text(&person.name).to_string();
            name + " was not trained, and is here for comparison."
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn portrait_card(outcome: &Outcome, portrait: &PortraitMade) -> Result<String, DemoError> {
    let PortraitMade {
        file,
        template,
        jpeg,
        seconds,
        faces,
        ..
    } = portrait;
    let small = thumbnail(&template.name, template.bytes, TEMPLATE_SIDE)?;
    let names: Vec<&str> = faces.iter().map(|face| &*face.model_id).collect();
    let names = names.join(" and ");
    let of = format!("portrait of {names}");
    let kind = if faces.len() > 1 { " several" } else { "" };
    let mut scores = String::new();
    for face in faces {
        scores += &face_scores(outcome, face);
    }
    let (before, after) = (
        Image {
            jpeg: &small,
            alt: &template.name,
        },
        Image { jpeg, alt: &of },
    );
    let seed = portrait
        .seed
        .map(|seed| format!(", seed {seed}"))
        .unwrap_or_default();
    Ok(format!(
        "<article class=\"portrait{kind}\">\n<div class=\"pair\"><figure>{before}<figcaption>template \
         {}</figcaption></figure><figure>{after}<figcaption>{}</figcaption></figure></div>\n\
         <div class=\"faces\">{scores}</div>\n<p class=\"fine\">{}{seed}</p>\n</article>\n",
        Text(&template.name),
        Text(file),
        time(*seconds)
    ))
}

/// Bars from 0 to 1, the highest marked.
fn face_scores(outcome: &Outcome, face: &PortraitFace) -> String {
    let is_right = face.is_right();
    let verdict = match (is_right, face.nearest()) {
        (true, _) => String::from("<span class=\"tag good\">nearest</span>"),
        (false, Some(other)) => {
            format!("<span class=\"tag bad\">nearer to {}</span>", Text(other))
        }
        (false, None) => String::from("<span class=\"tag bad\">no face found</span>"),
    };
    let mut bars = String::new();
    for (name, score) in &face.scores {
        let is_highest = face.nearest() == Some(name);
        let class = if is_highest { "bar top" } else { "bar" };
        let color = color(outcome, name);
        let width = score.clamp(0.0, 1.0) * 100.0;
        // Writing to a string does not fail.
        let _ = write!(
            bars,
            "<li class=\"{class} {color}\"><span>{}</span><i><b style=\"width:{width:.1}%\"></b></i>\
             <em>{score:.2}</em></li>",
            Text(name)
        );
    }
    format!(
        "<div><h3>{} {verdict}</h3><ul class=\"bars\">{bars}</ul></div>",
        Text(&face.model_id)
    )
}

/// The class of a person's colour.
fn color(outcome: &Outcome, name: &str) -> String {
    let place = outcome.people.iter().position(|person| person.name == name);
    format!("p{}", place.unwrap_or_default() % COLORS)
}

/// Who there is, and how training went.
pub(super) fn people(outcome: &Outcome) -> String {
    let cards: String = outcome
        .people
        .iter()
        .map(|person| person_card(outcome, person))
        .collect();
    format!(
        "<section>\n<h2>People</h2>\n<p class=\"about\">Training makes a LoRA: a small file that teaches \
         the checkpoint one person. Now and then it makes pictures of what it has learned, and the \
         checkpoints with the best ones are merged.</p>\n<div class=\"people\">{cards}</div>\n</section>"
    )
}

fn person_card(outcome: &Outcome, person: &SamplePerson) -> String {
    let color = color(outcome, &person.name);
    let photo = Image {
        jpeg: &person.reference,
        alt: &person.name,
    };
    let name = Text(&person.name);
    let Some(training) = &person.training else {
        return format!(
            "<article class=\"person {color}\">\n<figure class=\"face\">{photo}</figure>\n\
             <div class=\"facts\"><h3>{name}</h3><p class=\"fine\">{}, not trained: the stranger of the \
             comparison</p></div>\n</article>\n",
            count(person.photos, "photo")
        );
    };
    let score = training
        .score
        .map(|score| format!("<li><b>{score:.2}</b> best likeness</li>"));
    format!(
        "<article class=\"person {color}\">\n<figure class=\"face\">{photo}</figure>\n\
         <div class=\"facts\"><h3>{name}</h3><ul><li><b>{}</b> of {} used</li><li><b>{}</b> \
         steps</li><li><b>{}</b> of training</li>{}</ul></div>\n<div class=\"charts\">{}</div>\n{}\
         </article>\n",
        training.used_images,
        count(person.photos, "photo"),
        training.train_steps,
        time(training.seconds),
        score.unwrap_or_default(),
        charts(training),
        film(training)
    )
}

/// Loss and likeness over the steps.
fn charts(training: &Training) -> String {
    let losses: Vec<Point> = training
        .record
        .losses
        .iter()
        .map(|loss| (f64::from(loss.0), f64::from(loss.1)))
        .collect();
    let loss = Chart {
        title: "loss over the steps of the training",
        thin: &losses,
        thick: &smooth(&losses),
        dots: &[],
    };
    let scores: Vec<(Point, bool)> = training
        .record
        .scores
        .iter()
        .filter_map(|score| {
            let likeness = f64::from(score.score?);
            Some(((f64::from(score.step), likeness), score.chosen))
        })
        .collect();
    let likeness = Chart {
        title: "likeness of validation pictures over the steps of the training",
        thin: &[],
        thick: &means(&scores),
        dots: &scores,
    };
    let figure = |chart: String, words: &str| {
        if chart.is_empty() {
            return chart;
        }
        format!("<figure>{chart}<figcaption>{words}</figcaption></figure>")
    };
    figure(loss.svg(), "loss by step, and smoothed")
        + &figure(
            likeness.svg(),
            "likeness of validation pictures by step; filled dots are the best",
        )
}

/// The mean of the points of each step, in the order of the steps.
fn means(points: &[(Point, bool)]) -> Vec<Point> {
    let mut means: Vec<Point> = Vec::new();
    for ((step, _), _) in points {
        if means.iter().any(|(known, _)| known == step) {
            continue;
        }
        let same = points.iter().filter(|((other, _), _)| other == step);
        let values: Vec<f64> = same.map(|((_, value), _)| *value).collect();
        means.push((*step, values.iter().sum::<f64>() / values.len() as f64));
    }
    means.sort_by(|one, other| one.0.total_cmp(&other.0));
    means
}

/// A picture of each checkpoint.
fn film(training: &Training) -> String {
    let mut frames = String::new();
    for (step, jpeg) in &training.pictures {
        let alt = format!("after {step} steps");
        let image = Image { jpeg, alt: &alt };
        let _ = write!(
            frames,
            "<figure>{image}<figcaption>{alt}</figcaption></figure>"
        );
    }
    if frames.is_empty() {
        return frames;
    }
    format!("<div class=\"film\">{frames}</div>\n")
}

/// What is said of each photo.
pub(super) fn checks(outcome: &Outcome) -> String {
    let sets: String = outcome.checks.iter().map(check_set).collect();
    format!(
        "<section>\n<h2>Checks</h2>\n<p class=\"about\">Before anybody is trained, each photo gets a \
         verdict, and all of them together are asked whether they show one person.</p>\n{sets}</section>"
    )
}

fn check_set(set: &CheckedSet) -> String {
    let photos: String = set.photos.iter().map(checked_photo).collect();
    let same = match set.same_person {
        Some(true) => "<span class=\"tag good\">one person</span>",
        Some(false) => "<span class=\"tag bad\">not one person</span>",
        None => "",
    };
    // Reasons need more room than verdicts.
    let is_good = set.usable() == set.photos.len();
    let class = if is_good { "shots" } else { "shots told" };
    format!(
        "<article class=\"set\">\n<h3>{} <span class=\"tag\">{} of {} usable</span> {same}</h3>\n\
         <p class=\"fine\">{}, {}</p>\n<ul class=\"{class}\">{photos}</ul>\n</article>\n",
        Text(&set.name),
        set.usable(),
        count(set.photos.len(), "photo"),
        Text(&set.about),
        time(set.seconds)
    )
}

fn checked_photo(photo: &CheckedPhoto) -> String {
    let class = if photo.is_usable() { "good" } else { "bad" };
    let image = match &photo.thumbnail {
        Some(jpeg) => Image {
            jpeg,
            alt: &photo.name,
        }
        .to_string(),
        None => String::from("<div class=\"none\">no picture</div>"),
    };
    let about = photo
        .about
        .map(|about| format!("<small>{}</small>", Text(about)));
    let reason = photo
        .reason
        .as_ref()
        .map(|reason| format!("<p>{}</p>", Text(reason)));
    format!(
        "<li>{image}<span class=\"tag {class}\">{}</span>{}{}</li>",
        Text(&photo.message),
        about.unwrap_or_default(),
        reason.unwrap_or_default()
    )
}

/// What to make of all this, and how to go on.
pub(super) fn notes(outcome: &Outcome) -> String {
    let mut warnings: Vec<&str> = Vec::new();
    let all = outcome
        .portraits
        .iter()
        .flat_map(|portrait| &portrait.warnings);
    for warning in all.filter(|warning| outcome.notice != Some(warning)) {
        if !warnings.contains(&warning.as_str()) {
            warnings.push(warning);
        }
    }
    let before = "<p>The service for portraits adds:</p>\n";
    let warnings = list(before, "", warnings.into_iter());
    format!(
        "<section class=\"notes\">\n<h2>What this shows, and what it does not</h2>\n\
         <p>The people are drawn, and the networks were trained on drawn people and pictures of 256 x 256. \
         They are small enough to be part of the program and to train a person in a minute on two cores, \
         and they say nothing about real photos. The steps are those of real photos: the same services, \
         queues, files and code, with other networks.</p>\n<p>For real people there have to be</p>\n<ul>\n\
         <li>networks that look at faces: <code>photog models pull</code>, or your own with <code>photog \
         models import</code>;</li>\n<li>a checkpoint of Stable Diffusion 1.x in \
         <code>photog-data/webui/models/Stable-diffusion</code>;</li>\n<li>5 to 20 photos of each person, and \
         a template in which each face is to be replaced;</li>\n<li>an NVIDIA GPU, if a training is not to \
         take hours.</li>\n</ul>\n<p>Then <code>photog serve</code> does for them what it did here, and \
         <code>photog doctor</code> says what is missing.</p>\n{warnings}</section>"
    )
}
