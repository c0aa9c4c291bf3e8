//! The transformer of the UNet: pixels attend to each other and to the text.

use crate::models::nn::{
    Builder, GroupNorm, Kernels, LayerNorm, Linear, Maps, Tokens, maps_of, tokens_of,
};
use crate::models::weights::{UnetConfig, WeightsError};

/// Epsilon of the layer norms (`BasicTransformerBlock` of diffusers).
const EPSILON_LAYER: f64 = 1e-5;

/// How much wider the feed-forward part is.
const WIDENING: usize = 4;

/// Attention with its projections.
#[derive(Clone)]
pub struct Attention<B: Kernels> {
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    output: Linear<B>,
    heads: usize,
}

impl<B: Kernels> Attention<B> {
    /// Reads it. Keys and values are made of tokens of `context` channels.
    pub fn new(
        builder: &Builder<'_, B>,
        channels: usize,
        context: usize,
        heads: usize,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            query: builder.linear_only("to_q", channels, channels)?,
            key: builder.linear_only("to_k", context, channels)?,
            value: builder.linear_only("to_v", context, channels)?,
            output: builder.linear("to_out.0", channels, channels)?,
            heads,
        })
    }

    /// `residual` `[b, s, channels]` plus what the tokens `input` `[b, s, channels]` find in
    /// `context` `[b, t, context]`.
    pub fn add_to(&self, residual: Tokens<B>, input: Tokens<B>, context: Tokens<B>) -> Tokens<B> {
        let query = self.query.forward(input);
        let key = self.key.forward(context.clone());
        let value = self.value.forward(context);
        let found = B::attend(query, key, value, self.heads, false);
        self.output.add_to(residual, found)
    }
}

/// Attention to each other, attention to the text, and a feed-forward part.
#[derive(Clone)]
pub struct Block<B: Kernels> {
    norm1: LayerNorm<B>,
    own: Attention<B>,
    norm2: LayerNorm<B>,
    cross: Attention<B>,
    norm3: LayerNorm<B>,
    widen: Linear<B>,
    narrow: Linear<B>,
}

impl<B: Kernels> Block<B> {
    /// Reads it.
    pub fn new(
        builder: &Builder<'_, B>,
        channels: usize,
        context: usize,
        heads: usize,
    ) -> Result<Self, WeightsError> {
        let norm = |name| builder.layer_norm(name, channels, EPSILON_LAYER);
        let wide = WIDENING * channels;
        Ok(Self {
            norm1: norm("norm1")?,
            own: Attention::new(&builder.at("attn1"), channels, channels, heads)?,
            norm2: norm("norm2")?,
            cross: Attention::new(&builder.at("attn2"), channels, context, heads)?,
            norm3: norm("norm3")?,
            widen: builder.linear("ff.net.0.proj", channels, 2 * wide)?,
            narrow: builder.linear("ff.net.2", wide, channels)?,
        })
    }

    /// `[b, s, channels]` and the text `[b, t, context]` to `[b, s, channels]`.
    pub fn forward(&self, input: Tokens<B>, text: &Tokens<B>) -> Tokens<B> {
        let normal = self.norm1.forward(input.clone());
        let hidden = self.own.add_to(input, normal.clone(), normal);
        let normal = self.norm2.forward(hidden.clone());
        let hidden = self.cross.add_to(hidden, normal, text.clone());
        let normal = self.norm3.forward(hidden.clone());
        let wide = B::gated_gelu(self.widen.forward(normal));
        self.narrow.add_to(hidden, wide)
    }
}

/// Sizes of a [`Transformer`].
#[derive(Clone, Copy, Debug)]
pub struct TransformerSizes {
    /// Channels of the feature maps.
    pub channels: usize,
    /// Channels of the text's tokens.
    pub context: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// Groups of the norm.
    pub groups: usize,
}

/// A transformer on the pixels of feature maps.
#[derive(Clone)]
pub struct Transformer<B: Kernels> {
    norm: GroupNorm<B>,
    enter: Linear<B>,
    block: Block<B>,
    leave: Linear<B>,
}

impl<B: Kernels> Transformer<B> {
    /// Reads it. Its first and last layer are linear on pixels, whether the file keeps them as
    /// matrices or as 1x1 convolutions.
    pub fn new(builder: &Builder<'_, B>, sizes: TransformerSizes) -> Result<Self, WeightsError> {
        let TransformerSizes {
            channels,
            context,
            heads,
            groups,
        } = sizes;
        let part = builder.at("transformer_blocks.0");
        Ok(Self {
            norm: builder.group_norm("norm", channels, groups, UnetConfig::TRANSFORMER_NORM_EPS)?,
            enter: builder.linear("proj_in", channels, channels)?,
            block: Block::new(&part, channels, context, heads)?,
            leave: builder.linear("proj_out", channels, channels)?,
        })
    }

    /// `[b, h, w, channels]` and the text `[b, t, context]` to `[b, h, w, channels]`.
    pub fn forward(&self, input: Maps<B>, text: &Tokens<B>) -> Maps<B> {
        let [_, height, width, _] = input.dims();
        let normal = tokens_of(self.norm.forward(input.clone()));
        let hidden = self.block.forward(self.enter.forward(normal), text);
        maps_of(self.leave.add_to(tokens_of(input), hidden), height, width)
    }
}
