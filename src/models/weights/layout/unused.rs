//! What files hold beside a network and no one needs to run it.

use super::Network;

/// How a name is compared with one of the table, both without the network's prefix.
#[derive(Clone, Copy)]
enum As {
    Whole,
    Begin,
    End,
}

/// Harmless names, with the networks beside which they are found; `None` for all.
const HARMLESS: &[(Option<Network>, As, &str)] = &[
    // Averages of the weights that training keeps; what is to be used is under the plain names.
    (None, As::Begin, "model_ema."),
    // The noise schedule of the original code, which follows from a few numbers.
    (None, As::Whole, "betas"),
    (None, As::Begin, "alphas_cumprod"),
    (None, As::Begin, "sqrt_"),
    (None, As::Begin, "log_one_minus_alphas_cumprod"),
    (None, As::Begin, "posterior_"),
    (None, As::Whole, "lvlb_weights"),
    (None, As::Whole, "logvar"),
    (None, As::Whole, "scale_factor"),
    // Progress of a training.
    (None, As::Whole, "global_step"),
    // The judge of a VAE's training.
    (Some(Network::Vae), As::Begin, "loss."),
    // The numbers 0 to 76, which older versions of transformers stored.
    (Some(Network::Text), As::End, "position_ids"),
    // CLIP's other half, which looks at pictures, and what joins both.
    (Some(Network::Text), As::Begin, "vision_model."),
    (Some(Network::Text), As::Begin, "visual_projection."),
    (Some(Network::Text), As::Begin, "text_projection"),
    (Some(Network::Text), As::Whole, "logit_scale"),
];

/// Whether a tensor beside the network may be left unread; `name` is the file's, without prefix.
pub(in super::super) fn is_harmless(network: Network, name: &str) -> bool {
    HARMLESS.iter().any(|&(beside, compare, known)| {
        beside.is_none_or(|beside| beside == network)
            && match compare {
                As::Whole => name == known,
                As::Begin => name.starts_with(known),
                As::End => name.ends_with(known),
            }
    })
}
