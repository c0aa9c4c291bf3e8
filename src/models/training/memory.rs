//! How much memory a training needs, told before it begins.
//!
//! Counted are the weights, the factors with their gradients and means, what the way back keeps of each
//! operation, and what the largest operation needs on top. Frozen weights of matrices and convolutions
//! need nothing of what went into them, so of a residual block the inputs of its norms are kept, and of a
//! transformer what its factors, norms and attentions have seen.

use crate::models::weights::{TextConfig, UnetConfig};

use super::recipe::Recipe;

/// Bytes of a 32-bit float.
const FULL: u64 = 4;
/// Copies of the factors: themselves, their gradients, and two means.
const FACTOR_COPIES: u64 = 4;
/// Numbers that are kept for each pixel and channel of a transformer: the inputs of its norm and its
/// first layer (2), of both attentions with their norms (8 and 7), of the feed-forward part (14) and of
/// its last layer (1).
const KEPT_BY_TRANSFORMER: u64 = 32;
/// Layers of a transformer with factors, each of which keeps as many numbers as the rank for a pixel.
const LAYERS_OF_TRANSFORMER: u64 = 12;
/// Numbers that are kept for each token and channel of a layer of the text encoder, likewise.
const KEPT_BY_TEXT_LAYER: u64 = 18;
/// Layers with factors of a layer of the text encoder.
const LAYERS_OF_TEXT_LAYER: u64 = 6;
/// Numbers for each score of attention that are in memory at once on the way back.
const PER_SCORE: u64 = 4;
/// Most scores at once, see `nn::plain_back`.
const SCORES_MAX: u64 = 16 << 20;

/// What is trained, as far as memory depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The UNet.
    pub unet: &'a UnetConfig,
    /// The text encoder.
    pub text: &'a TextConfig,
    /// Memory of the weights of the checkpoint.
    pub weights: u64,
    /// How often they are there for the training, beside those for pictures: once, or twice where the
    /// way back has its own.
    pub copies: u64,
    /// Bytes of a number of an activation.
    pub number: u64,
    /// Rows and columns of a latent.
    pub latent: [usize; 2],
}

impl Plan<'_> {
    /// Bytes that a training with this recipe needs beside the loaded checkpoint when so many pictures go
    /// through at once. Between the steps, pictures are made with layers that are changed copies.
    pub fn bytes(&self, recipe: &Recipe, at_once: usize) -> u64 {
        let factors = self.factors(recipe) * FULL * FACTOR_COPIES;
        let picture = self.kept(recipe) * self.number + self.work();
        let steps = at_once as u64 * picture;
        self.weights * self.copies + factors + steps.max(self.weights)
    }

    /// How many pictures can go through at once with so much memory, at most those of a step; none if not
    /// even one can.
    pub fn at_once(&self, recipe: &Recipe, memory: u64) -> Option<usize> {
        let fits = |at_once: &usize| self.bytes(recipe, *at_once) <= memory;
        (1..=recipe.pictures.max(1)).rev().find(fits)
    }

    /// What fits into so much memory instead, in the names of a request's options; none where nothing does.
    pub fn advice(&self, recipe: &Recipe, memory: u64, factor: usize) -> Option<String> {
        const RANKS: [usize; 5] = [64, 32, 16, 8, 4];
        let sides = |plan: &Self| {
            let latent = plan.latent.map(|side| side * factor);
            [448, 384, 320, 256]
                .into_iter()
                .filter(move |side| latent.iter().any(|own| side < own))
        };
        let fits = |side: Option<usize>, rank: usize| {
            let plan = Plan {
                latent: side.map_or(self.latent, |side| [side / factor; 2]),
                ..*self
            };
            let recipe = Recipe {
                rank,
                ..recipe.clone()
            };
            plan.at_once(&recipe, memory).is_some()
        };
        let ranks = || RANKS.into_iter().filter(|rank| *rank < recipe.rank);
        if let Some(rank) = ranks().find(|rank| fits(None, *rank)) {
            return Some(format!("`rank` {rank}"));
        }
        let with_side = |side: usize| {
            let rank = [recipe.rank].into_iter().chain(ranks());
            rank.into_iter()
                .find(|rank| fits(Some(side), *rank))
                .map(|rank| format!("`resolution` {side} and `rank` {rank}"))
        };
        sides(self).find_map(with_side)
    }

    /// Numbers of the factors.
    fn factors(&self, recipe: &Recipe) -> u64 {
        let context = self.unet.cross_attention_dim as u64;
        let of_transformer = |channels: u64| {
            let square = 8 * 2 * channels;
            let of_text = 2 * (channels + context);
            let forward = 9 * channels + 5 * channels;
            square + of_text + forward
        };
        let unet: u64 = self.transformers().map(|(c, _)| of_transformer(c)).sum();
        let (width, wide) = (
            self.text.hidden_size as u64,
            self.text.intermediate_size as u64,
        );
        let text = match recipe.text_rate {
            Some(_) => self.text.num_hidden_layers as u64 * (8 * width + 2 * (width + wide)),
            None => 0,
        };
        (unet + text) * recipe.rank as u64
    }

    /// Numbers that the way back keeps of one picture.
    fn kept(&self, recipe: &Recipe) -> u64 {
        let rank = recipe.rank as u64;
        let transformers = self.transformers().map(|(channels, pixels)| {
            pixels * (KEPT_BY_TRANSFORMER * channels + LAYERS_OF_TRANSFORMER * rank)
        });
        let text = match recipe.text_rate {
            Some(_) => {
                let tokens = self.text.max_position_embeddings as u64;
                let layer = KEPT_BY_TEXT_LAYER * self.text.hidden_size as u64;
                let layers = self.text.num_hidden_layers as u64;
                tokens * layers * (layer + LAYERS_OF_TEXT_LAYER * rank)
            }
            None => 0,
        };
        transformers.sum::<u64>() + self.resnets() + text
    }

    /// Channels and pixels of each transformer.
    fn transformers(&self) -> impl Iterator<Item = (u64, u64)> {
        let levels = self.unet.block_out_channels.len();
        let per_level = 2 * self.unet.layers_per_block + 1;
        let with = (0..levels).filter(|&level| self.unet.attention[level]);
        let of_levels = with.flat_map(move |level| std::iter::repeat_n(level, per_level));
        // The middle has one too.
        of_levels
            .chain([levels - 1])
            .map(|level| (self.channels(level), self.pixels(level)))
    }

    /// Numbers that the inputs of the norms of all residual blocks have: of those on the way up, the
    /// first norm sees what the way down has left as well.
    fn resnets(&self) -> u64 {
        let levels = self.unet.block_out_channels.len();
        let blocks = self.unet.layers_per_block as u64;
        let of_level = |level: usize| {
            let down = 2 * blocks;
            let up = 3 * (blocks + 1);
            self.pixels(level) * self.channels(level) * (down + up)
        };
        let last = levels - 1;
        let middle = 4 * self.pixels(last) * self.channels(last);
        (0..levels).map(of_level).sum::<u64>() + middle
    }

    /// Bytes that the largest operation needs on top.
    fn work(&self) -> u64 {
        let widest = (0..self.unet.block_out_channels.len())
            .map(|level| self.pixels(level) * self.channels(level))
            .max()
            .unwrap_or(0);
        let scores = self.transformers().map(|(_, pixels)| pixels * pixels);
        let heads = self.unet.heads.iter().max().copied().unwrap_or(1) as u64;
        let scores = scores.max().unwrap_or(0) * heads;
        16 * widest * FULL + scores.min(SCORES_MAX) * PER_SCORE * FULL
    }

    fn channels(&self, level: usize) -> u64 {
        self.unet.block_out_channels[level] as u64
    }

    fn pixels(&self, level: usize) -> u64 {
        self.latent
            .iter()
            .map(|side| (side >> level).max(1) as u64)
            .product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::weights::TextActivation;

    const GIB: u64 = 1 << 30;

    fn unet() -> UnetConfig {
        UnetConfig {
            cross_attention_dim: 768,
            ..UnetConfig::diffusers_default()
        }
    }

    fn text() -> TextConfig {
        TextConfig {
            vocab_size: 49408,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 77,
            hidden_act: TextActivation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }

    /// On a GPU, in 16 bits: 1.06 thousand million numbers.
    fn plan<'a>(unet: &'a UnetConfig, text: &'a TextConfig) -> Plan<'a> {
        Plan {
            unet,
            text,
            weights: 2_130_000_000,
            copies: 1,
            number: 2,
            latent: [64, 64],
        }
    }

    /// `portrait-pipeline` 15: 192 and 72 modules, 75,497,472 numbers at rank 128.
    #[test]
    fn factors_are_counted_as_they_are() {
        let (unet, text) = (unet(), text());
        assert_eq!(plan(&unet, &text).factors(&Recipe::default()), 75_497_472);
    }

    #[test]
    fn the_defaults_fit_into_eight_gigabytes_with_one_picture_at_once() {
        let (unet, text) = (unet(), text());
        let plan = plan(&unet, &text);
        let recipe = Recipe::default();
        // The checkpoint itself and what the driver takes are there too.
        let left = 8 * GIB - plan.weights - 600_000_000;
        assert_eq!(
            plan.at_once(&recipe, left),
            Some(1),
            "{}",
            plan.bytes(&recipe, 1)
        );
        assert_eq!(plan.at_once(&recipe, 40 * GIB), Some(4));
    }

    #[test]
    fn a_card_that_is_too_small_hears_what_would_fit() {
        let (unet, text) = (unet(), text());
        let plan = plan(&unet, &text);
        let recipe = Recipe::default();
        let needed = plan.bytes(&recipe, 1);
        assert_eq!(plan.at_once(&recipe, needed - 1), None);
        let advice = plan.advice(&recipe, needed - 1, 8).unwrap();
        assert_eq!(advice, "`rank` 64");
        assert_eq!(plan.advice(&recipe, GIB, 8), None);
    }
}
