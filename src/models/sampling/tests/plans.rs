//! What holds for every plan.

use super::*;

#[test]
fn pictures_start_at_the_published_levels() {
    let cases = [
        (50, 0.45, 0.93975, Some(335.34), 23),
        (20, 0.35, 0.56472, Some(197.08), 8),
        (20, 0.30, 0.3964, None, 7),
        (30, 0.30, 0.3817, None, 10),
        (30, 0.35, 0.4829, None, 11),
    ];
    for (steps, strength, sigma, timestep, evaluations) in cases {
        let plan = planned(
            Method::Dpm2mSde,
            Spacing::Karras,
            steps,
            from_picture(strength),
        );
        assert_eq!(plan.evaluations.len(), evaluations);
        assert_eq!(plan.start.latent, 1.0);
        assert!(
            (plan.start.noise - sigma).abs() < 6e-5,
            "{}",
            plan.start.noise
        );
        let first = &plan.evaluations[0];
        assert_eq!(first.sigma, plan.start.noise);
        if let Some(timestep) = timestep {
            assert!(
                (first.timestep - timestep).abs() < 6e-3,
                "{}",
                first.timestep
            );
        }
    }
}

#[test]
fn kept_steps_are_run_whatever_the_strength() {
    for (strength, steps) in [(0.5, 20), (1.0, 20), (0.0, 7), (0.01, 1000)] {
        for method in METHODS {
            let plan = planned(method, Spacing::Karras, steps, |request| {
                let usual = FromPicture::new(strength);
                request.from_picture = Some(FromPicture {
                    keeps_steps: true,
                    ..usual
                });
            });
            let expected = match method {
                Method::Ddim => steps - 2,
                Method::UniPc => steps - 1,
                _ => steps,
            };
            assert_eq!(plan.evaluations.len(), expected, "{method:?} {strength}");
        }
    }
    let half = planned(Method::Dpm2m, Spacing::Karras, 20, |request| {
        request.from_picture = Some(FromPicture {
            keeps_steps: true,
            ..FromPicture::new(0.5)
        });
    });
    let whole = planned(Method::Dpm2m, Spacing::Karras, 40, |_| ());
    assert_eq!(half.evaluations[0].sigma, whole.evaluations[20].sigma);
}

#[test]
fn the_first_noise_can_be_scaled() {
    for method in METHODS {
        let with_scale = |noise_scale| {
            planned(method, Spacing::Automatic, 20, |request| {
                request.from_picture = Some(FromPicture {
                    noise_scale,
                    ..FromPicture::new(0.6)
                });
            })
        };
        let (plain, scaled) = (with_scale(1.0), with_scale(0.5));
        assert_eq!(scaled.start.noise, plain.start.noise * 0.5);
        assert_eq!(scaled.evaluations, plain.evaluations);
    }
}

#[test]
fn samplers_that_were_variance_preserving_end_as_they_did() {
    let schedule = schedule();
    for method in METHODS {
        for (steps, change) in [(20, None), (1, None), (20, Some(0.5)), (20, Some(0.0))] {
            let plan = planned(method, Spacing::Automatic, steps, |request| {
                request.from_picture = change.map(FromPicture::new);
            });
            // The end of DDIM is its lowest time step, 1, but where that is all there would be.
            let is_short = steps == 1 || change == Some(0.0);
            let expected = match method {
                Method::Ddim if !is_short => schedule.signal(1).sqrt(),
                Method::Ddim | Method::UniPc => schedule.signal(0).sqrt(),
                _ => 1.0,
            };
            assert_eq!(plan.finish, expected, "{method:?} {steps} {change:?}");
        }
    }
}

#[test]
fn a_large_eta_adds_no_more_noise_than_the_next_level_has() {
    for method in METHODS {
        let plan = planned(method, Spacing::Karras, 20, |request| {
            request.eta = Some(10.0);
        });
        for pair in plan.evaluations.windows(2) {
            let advance = &pair[0].advance;
            assert!(
                advance.sample >= 0.0 && advance.sample.is_finite(),
                "{method:?}"
            );
            let noise = advance.noise.unwrap_or(0.0);
            let is_capped = method != Method::Ddim;
            assert!(
                !is_capped || noise <= pair[1].sigma * (1.0 + 1e-12),
                "{method:?}"
            );
        }
    }
}

#[test]
fn every_plan_is_finite_and_fits_its_own_history() {
    let schedule = schedule();
    let tiny = Schedule::new(Betas {
        train_steps: 2,
        ..Betas::default()
    })
    .unwrap();
    let strengths = [
        None,
        Some(0.0),
        Some(0.03),
        Some(0.5),
        Some(0.999),
        Some(1.0),
    ];
    for schedule in [&schedule, &tiny] {
        for method in METHODS {
            for spacing in SPACINGS {
                for (steps, strength) in [1, 2, 3, 20, 999, 1000]
                    .into_iter()
                    .flat_map(|steps| strengths.map(|strength| (steps, strength)))
                {
                    let mut request = Request::new(method, spacing, steps);
                    request.eta = Some(0.5);
                    request.churn.amount = 3.0;
                    request.from_picture = strength.map(FromPicture::new);
                    let plan = plan(schedule, &request).unwrap();
                    let tolerance = if method == Method::Lcm { 2e-3 } else { 1e-9 };
                    assert_sound(
                        &plan,
                        tolerance,
                        &format!("{method:?} {spacing:?} {steps} {strength:?}"),
                    );
                }
            }
        }
    }
}

fn assert_sound(plan: &Plan, tolerance: f64, case: &str) {
    assert!(!plan.evaluations.is_empty(), "{case}");
    assert!(
        plan.start.noise.is_finite() && plan.start.latent.is_finite(),
        "{case}"
    );
    assert!(plan.finish > 0.0 && plan.finish <= 1.0, "{case}");
    for (index, evaluation) in plan.evaluations.iter().enumerate() {
        assert!(
            evaluation.sigma > 0.0 && evaluation.timestep >= 0.0,
            "{case} {index}"
        );
        for combination in evaluation.correct.iter().chain([&evaluation.advance]) {
            assert!(
                combination.denoised.len() <= HISTORY_MAX.min(index + 1),
                "{case} {index}"
            );
            let noise = combination.noise.unwrap_or(0.0);
            let mut factors = combination
                .denoised
                .iter()
                .chain([&combination.sample, &noise]);
            assert!(factors.all(|factor| factor.is_finite()), "{case} {index}");
            // Where the picture is known, no step changes it.
            let kept = combination.sample + combination.denoised.iter().sum::<f64>();
            assert!((kept - 1.0).abs() < tolerance, "{case} {index}: {kept}");
        }
        assert!(
            evaluation.churn.is_none_or(|churn| churn >= 0.0),
            "{case} {index}"
        );
    }
}

#[test]
fn without_eta_nothing_is_drawn_but_the_start() {
    for method in METHODS {
        let plan = planned(method, Spacing::Automatic, 20, |request| {
            request.eta = Some(0.0);
        });
        let draws = plan
            .evaluations
            .iter()
            .filter(|it| it.advance.noise.is_some() || it.churn.is_some());
        assert_eq!(
            draws.count(),
            if method == Method::Lcm { 19 } else { 0 },
            "{method:?}"
        );
    }
}

#[test]
fn automatic_means_what_the_sampler_says() {
    for method in METHODS {
        let automatic = planned(method, Spacing::Automatic, 9, |_| ());
        assert_eq!(
            automatic,
            planned(method, method.default_spacing(), 9, |_| ())
        );
    }
    let default = |method: Method| method.default_spacing();
    assert_eq!(default(Method::Dpm2m), Spacing::Karras);
    assert_eq!(default(Method::Dpm2mSde), Spacing::Exponential);
    assert_eq!(default(Method::EulerAncestral), Spacing::Uniform);
}

#[test]
fn numbers_out_of_range_are_refused() {
    let refused = |change: &dyn Fn(&mut Request)| {
        let mut request = Request::new(Method::Euler, Spacing::Automatic, 20);
        change(&mut request);
        matches!(
            plan(&schedule(), &request),
            Err(SamplingError::Setting { .. })
        )
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|request| request.steps = 0));
    assert!(refused(&|request| request.steps = STEPS_MAX + 1));
    assert!(refused(&|request| request.eta = Some(f64::NAN)));
    assert!(refused(&|request| request.eta = Some(-0.1)));
    assert!(refused(&|request| request.noise_scale = f64::INFINITY));
    assert!(refused(&|request| request.churn.amount = -1.0));
    assert!(refused(&|request| request.churn.sigma_max = f64::NAN));
    assert!(refused(&|request| request.unipc.order = 4));
    assert!(refused(&|request| from_picture(1.5)(request)));
    assert!(refused(&|request| from_picture(f64::NAN)(request)));
}

#[test]
fn refusals_say_what_there_is() {
    let text = SamplingError::Method("Heun".into()).to_string();
    assert!(
        text.contains("\"Heun\"") && text.contains("DPM++ 2M SDE, Euler a"),
        "{text}"
    );
    let text = SamplingError::Spacing("turbo".into()).to_string();
    assert!(text.contains("SGM Uniform"), "{text}");
}
