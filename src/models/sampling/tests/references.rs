//! Runs, levels and noise, held against k-diffusion and diffusers number by number.

use super::super::method::{self, Place};
use super::*;

const STEPS: [usize; 4] = [1, 2, 7, 20];
const TOLERANCE: f64 = 1e-6;

#[test]
fn spacings_are_those_of_k_diffusion_and_of_the_formulas() {
    let (fixture, schedule) = (Fixture::open(), schedule());
    let grids = [
        ("all", schedule.grid()),
        ("consistency", &schedule.consistency_grid()),
    ];
    for (name, grid) in grids {
        for spacing in &SPACINGS[1..] {
            let all = STEPS
                .into_iter()
                .chain([30])
                .flat_map(|steps| spacing.sigmas(grid, steps));
            let expected = fixture.values(&format!("sigmas/{name}/{}", spacing.name()));
            let got: Vec<f64> = all.collect();
            assert_eq!(got.len(), expected.len(), "{name} {spacing:?}");
            for (got, want) in got.iter().zip(&expected) {
                assert!(
                    (got - want).abs() <= TOLERANCE * want,
                    "{name} {spacing:?}: {got} {want}"
                );
            }
        }
    }
}

#[test]
fn every_spacing_and_length_ends_where_k_diffusion_ends() {
    let fixture = Fixture::open();
    let methods = [
        ("euler", Method::Euler),
        ("euler_ancestral", Method::EulerAncestral),
        ("dpmpp_2m", Method::Dpm2m),
        ("dpmpp_2m_sde", Method::Dpm2mSde),
        ("lcm", Method::Lcm),
    ];
    for (name, method) in methods {
        let expected = fixture.values(&format!("final/{name}"));
        let mut ends = expected.chunks_exact(VALUES);
        for spacing in &SPACINGS[1..] {
            for steps in STEPS {
                for picture in [None, Some(FromPicture::new(0.45))] {
                    let plan = planned(method, *spacing, steps, |request| {
                        request.from_picture = picture;
                    });
                    let path = fixture.run(&plan, Prediction::Epsilon);
                    let error = error(path.last().unwrap(), ends.next().unwrap());
                    assert!(
                        error < TOLERANCE,
                        "{name} {spacing:?} {steps} {picture:?}: {error:e}"
                    );
                }
            }
        }
        assert!(ends.next().is_none());
    }
}

#[test]
fn every_sample_is_that_of_k_diffusion() {
    let fixture = Fixture::open();
    let karras = |method| planned(method, Spacing::Karras, 12, |_| ());
    fixture.assert_path("euler", &karras(Method::Euler), TOLERANCE);
    fixture.assert_path(
        "euler_ancestral",
        &karras(Method::EulerAncestral),
        TOLERANCE,
    );
    fixture.assert_path("dpmpp_2m", &karras(Method::Dpm2m), TOLERANCE);
    fixture.assert_path("dpmpp_2m_sde", &karras(Method::Dpm2mSde), TOLERANCE);
    let lcm = planned(Method::Lcm, Spacing::Automatic, 6, |_| ());
    fixture.assert_path("lcm", &lcm, TOLERANCE);
    let late = planned(
        Method::Dpm2mSde,
        Spacing::Exponential,
        20,
        from_picture(0.75),
    );
    fixture.assert_path("from_picture", &late, TOLERANCE);
}

#[test]
fn eta_noise_scale_and_churn_are_those_of_k_diffusion() {
    let fixture = Fixture::open();
    let plan = planned(Method::EulerAncestral, Spacing::Karras, 12, |request| {
        request.eta = Some(0.4);
        // The WebUI does not hand it on to this sampler.
        request.noise_scale = 5.0;
    });
    fixture.assert_path("euler_ancestral_eta", &plan, TOLERANCE);
    let plan = planned(Method::Dpm2mSde, Spacing::Karras, 12, |request| {
        request.eta = Some(0.6);
        request.noise_scale = 0.9;
    });
    fixture.assert_path("dpmpp_2m_sde_eta", &plan, TOLERANCE);
    let plan = planned(Method::Euler, Spacing::Karras, 12, |request| {
        request.noise_scale = 1.1;
        request.churn = Churn {
            amount: 5.0,
            sigma_min: 0.1,
            sigma_max: 10.0,
        };
    });
    let path = fixture.run(&plan, Prediction::Epsilon);
    fixture.assert_same("euler_churn", &path[12..], TOLERANCE);
}

#[test]
fn networks_that_predict_velocity_are_read_as_k_diffusion_reads_them() {
    let fixture = Fixture::open();
    let plan = planned(Method::Dpm2m, Spacing::Karras, 12, |_| ());
    let path = fixture.run(&plan, Prediction::Velocity);
    fixture.assert_same("velocity", &path, TOLERANCE);
}

#[test]
fn ddim_is_that_of_diffusers_at_the_webui_s_time_steps() {
    let fixture = Fixture::open();
    let ddim = |steps, change: &dyn Fn(&mut Request)| {
        planned(Method::Ddim, Spacing::Karras, steps, |request| {
            change(request);
        })
    };
    fixture.assert_path("ddim_20", &ddim(20, &|_| ()), TOLERANCE);
    fixture.assert_path(
        "ddim_30",
        &ddim(30, &|request| request.eta = Some(0.7)),
        TOLERANCE,
    );
    for steps in [20, 30] {
        let picture = ddim(steps, &|request| from_picture(0.75)(request));
        fixture.assert_path(&format!("ddim_{steps}_picture"), &picture, TOLERANCE);
    }
}

#[test]
fn ddim_through_all_time_steps_is_that_of_diffusers() {
    let (fixture, schedule) = (Fixture::open(), schedule());
    let timesteps: Vec<usize> = (0..20).rev().map(|step| step * 50 + 1).collect();
    for (case, eta) in [("ddim_diffusers", 0.0), ("ddim_diffusers_eta", 1.0)] {
        let plan = Plan {
            start: Start {
                latent: 0.0,
                noise: schedule.signal(951).sqrt().recip(),
            },
            evaluations: method::ddim(&schedule, &timesteps, 0, eta),
            finish: schedule.signal(0).sqrt(),
        };
        fixture.assert_path(case, &plan, TOLERANCE);
    }
}

#[test]
fn unipc_is_that_of_diffusers_at_the_webui_s_time_steps() {
    let fixture = Fixture::open();
    let cases = [
        ("unipc", 9, UniPc::default()),
        (
            "unipc_bh2",
            9,
            UniPc {
                order: 2,
                variant: BhVariant::Bh2,
                lower_order_final: true,
            },
        ),
        (
            "unipc_flat",
            9,
            UniPc {
                lower_order_final: false,
                ..UniPc::default()
            },
        ),
        (
            "unipc_one",
            9,
            UniPc {
                order: 1,
                ..UniPc::default()
            },
        ),
        ("unipc_short", 2, UniPc::default()),
    ];
    for (case, steps, options) in cases {
        // Nine steps of 111 make ten time steps.
        let plan = planned(Method::UniPc, Spacing::Karras, steps, |request| {
            request.unipc = options;
        });
        fixture.assert_path(case, &plan, TOLERANCE);
    }
    let plan = planned(Method::UniPc, Spacing::Automatic, 20, from_picture(0.45));
    fixture.assert_path("unipc_picture", &plan, TOLERANCE);
}

#[test]
fn unipc_at_the_time_steps_of_diffusers_is_that_of_diffusers() {
    let (fixture, schedule) = (Fixture::open(), schedule());
    let cases = [
        ("linspace", 2, BhVariant::Bh2, 0.0),
        ("trailing", 3, BhVariant::Bh1, schedule.sigma_min()),
    ];
    for (spacing, order, variant, end) in cases {
        let timesteps = fixture.values(&format!("timesteps/unipc_{spacing}"));
        let place = |&timestep: &f64| Place {
            sigma: schedule.sigma_at(timestep),
            timestep,
        };
        let mut places: Vec<Place> = timesteps.iter().map(place).collect();
        places.push(Place {
            sigma: end,
            timestep: 0.0,
        });
        let start = (places[0].sigma.powi(2) + 1.0).sqrt();
        let plan = Plan {
            start: Start {
                latent: 0.0,
                noise: start,
            },
            evaluations: method::unipc(
                &places,
                UniPc {
                    order,
                    variant,
                    lower_order_final: true,
                },
            ),
            finish: 1.0,
        };
        fixture.assert_path(&format!("unipc_{spacing}"), &plan, TOLERANCE);
    }
}

#[test]
fn lcm_with_simple_spacing_is_that_of_diffusers() {
    // The boundary condition is applied to another form of the sample there, which is a share of 1e-5.
    let fixture = Fixture::open();
    let plan = planned(Method::Lcm, Spacing::Simple, 4, |_| ());
    fixture.assert_path("lcm_diffusers", &plan, 1e-4);
}

#[test]
fn noise_of_a_batch_follows_the_rules_of_the_webui() {
    let fixture = Fixture::open();
    let request = NoiseRequest::new([4, 6, 5], vec![-3, (1 << 40) + 7]);
    let mut cases = vec![("plain", request.clone()); 4];
    cases[1] = (
        "delta",
        NoiseRequest {
            later_seed_delta: 31_337,
            ..request.clone()
        },
    );
    cases[2] = (
        "resized",
        NoiseRequest {
            resize_from: [24, 64],
            ..request.clone()
        },
    );
    let variation = Variation {
        seeds: vec![100, 101],
        strength: 0.3,
    };
    cases[3] = (
        "varied",
        NoiseRequest {
            variation: Some(variation),
            ..request
        },
    );
    for (case, request) in cases {
        let mut source = NoiseSource::new(request).unwrap();
        let expected = fixture.values(&format!("draws/{case}"));
        for want in expected.chunks_exact(240) {
            for (got, want) in source.draw().into_iter().zip(want) {
                assert!((f64::from(got) - want).abs() < 1e-6, "{case}: {got} {want}");
            }
        }
    }
}
