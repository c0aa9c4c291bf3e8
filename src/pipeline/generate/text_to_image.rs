//! Pictures from words, in one pass or in two.

use super::{
    artist::{Artist, Painter},
    batch::{Course, Painted, Sampling, Seeds, each_batch, latent_size},
    error::GenerateError,
    hires::{HiresRequest, enlarge},
    prompts::Asked,
    record::{Record, decimal},
    request::{Common, Passes, TextToImage},
    session::{Guides, Session},
};
use crate::models::{prompt, sampling::FromPicture};

/// Makes the pictures of a request.
pub(super) fn text_to_image<A: Artist>(
    session: &mut Session<'_, A>,
    request: &TextToImage,
    seeds: &Seeds,
) -> Result<Vec<Painted>, GenerateError> {
    let common = &request.common;
    let guides = session.guides(&common.units)?;
    let first = first_pass(session, common, &guides)?;
    let second = match &request.hires {
        None => None,
        Some(hires) => Some((hires, second_pass(session, request, hires, &guides)?)),
    };
    let record = Record::new(common, seeds);
    let passes = 1 + usize::from(second.is_some());
    let channels = session.painter.latent_channels();
    let [columns, rows] = latent_size(common.width, common.height);
    each_batch(
        session,
        &record,
        common.batch_size,
        passes,
        |session, job, places| {
            let mut noise = seeds.noise(places.clone(), [channels, rows, columns])?;
            let sizes = [places.len(), channels, rows, columns];
            let mut latents = first.run(session, &mut noise, sizes, None, None)?;
            let mut painter = &first.words.painter;
            if let Some((hires, second)) = &second
                && !session.steps.is_ending()
            {
                let start = enlarge(&**painter, &latents, hires, &mut session.steps)?;
                session.steps.begin_pass(job + 1);
                let [_, channels, rows, columns] = start.sizes;
                let mut noise = seeds.noise(places, [channels, rows, columns])?;
                latents = second.run(session, &mut noise, start.sizes, Some(&start), None)?;
                painter = &second.words.painter;
            }
            Ok(painter.decode(&latents, &mut session.steps)?)
        },
    )
}

/// The pass from noise.
fn first_pass<A: Artist>(
    session: &mut Session<'_, A>,
    common: &Common,
    guides: &Guides<A::Guide>,
) -> Result<Sampling<A::Painter>, GenerateError> {
    let course = Course {
        method: common.method,
        spacing: common.spacing,
        steps: common.steps,
        from_picture: None,
    };
    let size = (common.width, common.height);
    Ok(Sampling {
        plan: course.plan(session.painter.schedule(), common, &session.options)?,
        words: session.words(&Asked::first(common))?,
        guidance: common.guidance,
        controls: guides.controls(Passes::First, size, None, None)?,
    })
}

/// The pass over the enlarged picture.
fn second_pass<A: Artist>(
    session: &mut Session<'_, A>,
    request: &TextToImage,
    hires: &HiresRequest,
    guides: &Guides<A::Guide>,
) -> Result<Sampling<A::Painter>, GenerateError> {
    let common = &request.common;
    let negative = hires.negative_prompt.as_ref();
    let asked = Asked {
        prompt: hires.prompt.as_ref().unwrap_or(&common.prompt),
        negative: negative.unwrap_or(&common.negative_prompt),
        fields: ["hr_prompt", "hr_negative_prompt"],
        pass: prompt::Pass::Second {
            first_steps: common.steps,
            steps: hires.steps,
        },
        uses_networks: common.uses_networks,
    };
    let course = Course {
        method: hires.method,
        spacing: hires.spacing,
        steps: hires.steps,
        from_picture: Some(FromPicture {
            keeps_steps: true,
            ..FromPicture::new(request.strength)
        }),
    };
    describe(session, request, hires);
    Ok(Sampling {
        plan: course.plan(session.painter.schedule(), common, &session.options)?,
        words: session.words(&asked)?,
        guidance: common.guidance,
        controls: guides.controls(Passes::Second, hires.target.pixels(), None, None)?,
    })
}

/// What the texts of the pictures say of the second pass.
fn describe<A: Artist>(session: &mut Session<'_, A>, request: &TextToImage, hires: &HiresRequest) {
    let common = &request.common;
    session.say("Denoising strength", decimal(request.strength));
    if hires.method != common.method {
        session.say("Hires sampler", hires.method.name());
    }
    if hires.spacing != common.spacing {
        session.say("Hires schedule type", hires.spacing.label());
    }
    let differs =
        |own: &Option<String>, first: &String| own.as_ref().filter(|text| *text != first).cloned();
    if let Some(prompt) = differs(&hires.prompt, &common.prompt) {
        session.say("Hires prompt", prompt);
    }
    if let Some(prompt) = differs(&hires.negative_prompt, &common.negative_prompt) {
        session.say("Hires negative prompt", prompt);
    }
    match hires.resize {
        [0, 0] => session.say("Hires upscale", decimal(hires.scale)),
        [x, y] => session.say("Hires resize", format!("{x}x{y}")),
    }
    if hires.has_own_steps {
        session.say("Hires steps", hires.steps.to_string());
    }
    session.say("Hires upscaler", hires.upscaler_name.clone());
}
