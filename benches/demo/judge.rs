//! Tells hair, glasses and background of a picture with a network that was trained for this alone
//! (`forge.measure.judge`), and counts how often that is what the caption says.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, ensure};
use photog::{
    imaging::{Kernel, RgbImage, resize},
    models::{
        backend::Device,
        onnx::{HostTensor, OnnxModel},
    },
};
use serde::Deserialize;

const NETWORK: &[u8] = include_bytes!("judge.onnx");
/// What the numbers of its outputs stand for.
const WORDS: &str = include_str!("judge.json");
const SIDE: u32 = 160;

/// What of a picture is judged, and the word for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Looks {
    /// Colour of the hair, or `bald`.
    hair: String,
    /// `glasses` or `none`.
    glasses: String,
    /// A place, or the colour of a plain background.
    background: String,
}

/// The network, and the words of its outputs.
pub struct Judge {
    model: OnnxModel,
    words: BTreeMap<String, Vec<String>>,
}

impl Judge {
    /// Opens it.
    pub fn open() -> Result<Self> {
        Ok(Self {
            model: OnnxModel::load(NETWORK, "judge.onnx", Device::Cpu)?,
            words: serde_json::from_str(WORDS)?,
        })
    }

    /// What is seen in a picture.
    pub fn look(&self, picture: &RgbImage) -> Result<Looks> {
        let small = resize(picture, SIDE, SIDE, Kernel::Triangle);
        let side = SIDE as usize;
        let mut data = Vec::with_capacity(3 * side * side);
        for channel in 0..3 {
            let values = small.as_raw().iter().skip(channel).step_by(3);
            data.extend(values.map(|value| (f32::from(*value) - 127.5) / 127.5));
        }
        let input = HostTensor {
            shape: vec![1, 3, side, side],
            data,
        };
        let outputs = self.model.run(vec![input])?;
        let named: BTreeMap<_, _> = self
            .model
            .outputs()
            .iter()
            .map(|port| port.name.as_str())
            .zip(&outputs)
            .collect();
        let answer = |name: &str| {
            let output = named.get(name).context("the judge lacks an output")?;
            let words = self.words.get(name).context("judge.json lacks words")?;
            largest(&output.data, words)
        };
        Ok(Looks {
            hair: answer("hair")?,
            glasses: answer("glasses")?,
            background: answer("background")?,
        })
    }
}

/// The word whose number is the largest.
fn largest(numbers: &[f32], words: &[String]) -> Result<String> {
    ensure!(
        numbers.len() == words.len(),
        "judge.json is not of judge.onnx"
    );
    let best = numbers.iter().zip(words).max_by(|a, b| a.0.total_cmp(b.0));
    Ok(best.context("the judge says nothing")?.1.clone())
}

/// Whether hair, glasses and background are as asked. Glasses are counted twice: where the caption names
/// them, and where it does not.
const QUESTIONS: [(&str, Question); 5] = [
    ("hair", |asked, seen| Some(asked.hair == seen.hair)),
    ("glasses where they are named", |asked, seen| {
        (asked.glasses != NONE).then(|| asked.glasses == seen.glasses)
    }),
    ("no glasses where none are named", |asked, seen| {
        (asked.glasses == NONE).then(|| asked.glasses == seen.glasses)
    }),
    ("background", |asked, seen| {
        Some(asked.background == seen.background)
    }),
    ("all of these at once", |asked, seen| Some(asked == seen)),
];

/// Right, wrong, or not asked.
type Question = fn(&Looks, &Looks) -> Option<bool>;

/// What is said of glasses where there are none.
const NONE: &str = "none";

/// Right answers, and all.
#[derive(Clone, Copy, Default)]
struct Count {
    right: usize,
    all: usize,
}

impl Count {
    fn add(&mut self, answer: Option<bool>) {
        if let Some(is_right) = answer {
            self.right += usize::from(is_right);
            self.all += 1;
        }
    }

    fn percent(self) -> f64 {
        self.right as f64 * 100.0 / self.all.max(1) as f64
    }
}

/// How often pictures show what was asked for.
pub struct Agreement {
    /// Of each picture and its own caption, for each question.
    own: [Count; QUESTIONS.len()],
    /// Of pictures and all other captions: what is right by chance.
    others: [Count; QUESTIONS.len()],
}

impl Agreement {
    /// Of what was asked for and what was seen, in the same order.
    pub fn of(asked: &[Looks], seen: &[Looks]) -> Self {
        let mut agreement = Self {
            own: Default::default(),
            others: Default::default(),
        };
        for (at, seen) in seen.iter().enumerate() {
            for (number, asked) in asked.iter().enumerate() {
                let counts = if number == at {
                    &mut agreement.own
                } else {
                    &mut agreement.others
                };
                for (count, (_, question)) in counts.iter_mut().zip(QUESTIONS) {
                    count.add(question(asked, seen));
                }
            }
        }
        agreement
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("as the captions ask:")?;
        for ((name, _), (own, others)) in QUESTIONS.iter().zip(self.own.iter().zip(self.others)) {
            write!(
                f,
                "\n  {name}: {} of {}, {:.1} % (by chance {:.1} %)",
                own.right,
                own.all,
                own.percent(),
                others.percent()
            )?;
        }
        Ok(())
    }
}
