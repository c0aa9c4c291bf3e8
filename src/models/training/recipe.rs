//! How a LoRA is trained.

use serde::{Deserialize, Serialize};

/// How the learning rate goes over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// It stays.
    Constant,
    /// It falls to zero like half a cosine.
    Cosine,
}

impl Curve {
    /// The share of the rate at a step, counted from 0.
    pub fn share(self, step: usize, steps: usize) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine => {
                let done = step as f64 / steps.max(1) as f64;
                0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

/// How a LoRA is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Inner size of the factors.
    pub rank: usize,
    /// What is learned counts `alpha / rank` times.
    pub alpha: f64,
    /// Learning rate in the UNet.
    pub unet_rate: f64,
    /// Learning rate in the text encoder; none leaves it as it is.
    pub text_rate: Option<f64>,
    /// How the rates go over the steps.
    pub curve: Curve,
    /// Decay of the factors, decoupled from their gradients.
    pub decay: f64,
    /// Largest length of all gradients together; longer ones are shortened to it.
    pub clip: f64,
    /// Limit of the signal-to-noise ratio in the weights of time steps (Hang et al. 2023); none weighs
    /// all alike.
    pub min_snr: Option<f64>,
    /// Share of noise that is the same for all pixels of a channel; 0 for none.
    pub noise_offset: f64,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Pictures of a step.
    pub pictures: usize,
    /// Pictures that go through the networks at once; a step takes as many passes as it needs.
    pub at_once: usize,
    /// Whether pictures are mirrored half of the time.
    pub mirrored: bool,
    /// What all choices follow from.
    pub seed: u64,
}

impl Recipe {
    /// What the product of the factors is multiplied with.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

/// The defaults of EasyPhoto for Stable Diffusion 1.x (`portrait-pipeline` 6.1), for 800 steps.
impl Default for Recipe {
    fn default() -> Self {
        Self {
            rank: 128,
            alpha: 64.0,
            unet_rate: 1e-4,
            text_rate: Some(5e-5),
            curve: Curve::Constant,
            decay: 1e-2,
            clip: 1.0,
            min_snr: None,
            noise_offset: 0.0,
            steps: 800,
            pictures: 4,
            at_once: 4,
            mirrored: true,
            seed: 42,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_falls_from_the_whole_rate_to_none() {
        assert_eq!(Curve::Cosine.share(0, 10), 1.0);
        assert!((Curve::Cosine.share(5, 10) - 0.5).abs() < 1e-12);
        assert!(Curve::Cosine.share(10, 10).abs() < 1e-12);
        assert_eq!(Curve::Constant.share(7, 10), 1.0);
    }

    #[test]
    fn the_scale_is_alpha_by_rank() {
        assert_eq!(Recipe::default().scale(), 0.5);
    }
}
