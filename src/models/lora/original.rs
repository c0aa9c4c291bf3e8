//! The names that the original code of Stable Diffusion gives to the layers of a UNet.
//!
//! There the blocks are counted through: with `n` residual blocks per level, level `i` of the way
//! down has the blocks `(n + 1) i + 1` onwards, its last being the one that halves the picture; level
//! `i` of the way up has the blocks `(n + 1) i` onwards, and its last one doubles it as well.

/// The original name of the layer with this path, `None` for a layer that the original code does not
/// have. `has_attention` tells whether a level of the way up has attention.
pub(super) fn original_path(
    path: &str,
    layers_per_block: usize,
    has_attention: impl Fn(usize) -> bool,
) -> Option<String> {
    let mut parts = path.splitn(5, '.');
    let first = parts.next()?;
    match first {
        "conv_in" => return Some("input_blocks.0.0".into()),
        "conv_out" => return Some("out.2".into()),
        "time_embedding" => {
            return match parts.next()? {
                "linear_1" => Some("time_embed.0".into()),
                "linear_2" => Some("time_embed.2".into()),
                _ => None,
            };
        }
        _ => {}
    }
    // The one middle block is not numbered.
    let level = match first {
        "mid_block" => 0,
        _ => index(parts.next()?)?,
    };
    let kind = parts.next()?;
    let at = index(parts.next()?)?;
    let rest: Vec<&str> = parts.collect();
    let rest = rest.join(".");
    let stride = layers_per_block + 1;
    let start = level * stride;
    match (first, kind) {
        ("mid_block", "attentions") => Some(format!("middle_block.{}.{rest}", 2 * at + 1)),
        ("mid_block", "resnets") => Some(format!("middle_block.{}.{}", 2 * at, residual(&rest)?)),
        ("down_blocks", "attentions") => Some(format!("input_blocks.{}.1.{rest}", start + at + 1)),
        ("down_blocks", "resnets") => {
            let part = residual(&rest)?;
            Some(format!("input_blocks.{}.0.{part}", start + at + 1))
        }
        ("down_blocks", "downsamplers") if rest == "conv" => {
            Some(format!("input_blocks.{}.0.op", start + stride))
        }
        ("up_blocks", "attentions") => Some(format!("output_blocks.{}.1.{rest}", start + at)),
        ("up_blocks", "resnets") => {
            let part = residual(&rest)?;
            Some(format!("output_blocks.{}.0.{part}", start + at))
        }
        ("up_blocks", "upsamplers") if rest == "conv" => {
            // It comes after the attention of its block, if there is one.
            let place = 1 + usize::from(has_attention(level));
            let block = start + layers_per_block;
            Some(format!("output_blocks.{block}.{place}.conv"))
        }
        _ => None,
    }
}

/// A part of a residual block.
fn residual(part: &str) -> Option<&'static str> {
    Some(match part {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        _ => return None,
    })
}

/// A number of a block. Two digits are plenty.
fn index(text: &str) -> Option<usize> {
    (text.len() <= 2).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_sd_1_have_their_original_names() {
        for (path, expected) in [
            ("conv_in", "input_blocks.0.0"),
            ("conv_out", "out.2"),
            ("time_embedding.linear_1", "time_embed.0"),
            ("time_embedding.linear_2", "time_embed.2"),
            (
                "down_blocks.0.attentions.0.proj_in",
                "input_blocks.1.1.proj_in",
            ),
            (
                "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
                "input_blocks.4.1.transformer_blocks.0.attn1.to_out.0",
            ),
            (
                "down_blocks.1.attentions.1.proj_out",
                "input_blocks.5.1.proj_out",
            ),
            (
                "down_blocks.3.resnets.1.conv2",
                "input_blocks.11.0.out_layers.3",
            ),
            (
                "down_blocks.1.resnets.0.conv_shortcut",
                "input_blocks.4.0.skip_connection",
            ),
            ("down_blocks.2.downsamplers.0.conv", "input_blocks.9.0.op"),
            ("mid_block.attentions.0.proj_in", "middle_block.1.proj_in"),
            (
                "mid_block.resnets.1.time_emb_proj",
                "middle_block.2.emb_layers.1",
            ),
            (
                "up_blocks.1.attentions.2.proj_in",
                "output_blocks.5.1.proj_in",
            ),
            (
                "up_blocks.3.resnets.2.conv1",
                "output_blocks.11.0.in_layers.2",
            ),
            ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.1.conv"),
            ("up_blocks.2.upsamplers.0.conv", "output_blocks.8.2.conv"),
        ] {
            let found = original_path(path, 2, |level| level > 0);
            assert_eq!(found.as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_the_original_does_not_have_has_no_name_there() {
        for path in [
            "",
            "conv_norm",
            "time_embedding.linear_3",
            "down_blocks.x.resnets.0.conv1",
            "down_blocks.99999999999999999999.resnets.0.conv1",
            "down_blocks.0.resnets.0.conv9",
            "down_blocks.0.motion_modules.0.proj_in",
            "mid_block.attentions",
        ] {
            assert_eq!(original_path(path, 2, |_| true), None, "{path}");
        }
    }
}
