//! CLIP's text encoder: tokens to what the UNet attends to.

use burn::Tensor;
use burn::tensor::activation::gelu;
use burn::tensor::{DType, Int, TensorData};

use crate::models::nn::{Builder, Kernels, LayerNorm, Linear, Tokens};
use crate::models::weights::{TextActivation, TextConfig, WeightsError};

#[derive(Clone)]
struct Attention<B: Kernels> {
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    output: Linear<B>,
    heads: usize,
}

#[derive(Clone)]
struct Layer<B: Kernels> {
    norm1: LayerNorm<B>,
    attention: Attention<B>,
    norm2: LayerNorm<B>,
    widen: Linear<B>,
    narrow: Linear<B>,
    activation: TextActivation,
}

impl<B: Kernels> Layer<B> {
    fn new(builder: &Builder<'_, B>, config: &TextConfig) -> Result<Self, WeightsError> {
        let (width, wide) = (config.hidden_size, config.intermediate_size);
        let norm = |name| builder.layer_norm(name, width, config.layer_norm_eps);
        let own = builder.at("self_attn");
        Ok(Self {
            norm1: norm("layer_norm1")?,
            attention: Attention {
                query: own.linear("q_proj", width, width)?,
                key: own.linear("k_proj", width, width)?,
                value: own.linear("v_proj", width, width)?,
                output: own.linear("out_proj", width, width)?,
                heads: config.num_attention_heads,
            },
            norm2: norm("layer_norm2")?,
            widen: builder.linear("mlp.fc1", width, wide)?,
            narrow: builder.linear("mlp.fc2", wide, width)?,
            activation: config.hidden_act,
        })
    }

    fn forward(&self, input: Tokens<B>) -> Tokens<B> {
        let normal = self.norm1.forward(input.clone());
        let Attention {
            query,
            key,
            value,
            output,
            heads,
        } = &self.attention;
        let query = query.forward(normal.clone());
        let key = key.forward(normal.clone());
        let value = value.forward(normal);
        let found = B::attend(query, key, value, *heads, true);
        let hidden = output.add_to(input, found);
        let wide = self.widen.forward(self.norm2.forward(hidden.clone()));
        let active = match self.activation {
            TextActivation::QuickGelu => B::quick_gelu(wide),
            TextActivation::Gelu => gelu(wide),
        };
        self.narrow.add_to(hidden, active)
    }
}

/// The network.
#[derive(Clone)]
pub struct TextEncoder<B: Kernels> {
    /// `[vocabulary, hidden]`
    words: Tensor<B, 2>,
    /// `[positions, hidden]`
    positions: Tensor<B, 2>,
    layers: Vec<Layer<B>>,
    norm: LayerNorm<B>,
}

impl<B: Kernels> TextEncoder<B> {
    /// Reads it.
    pub fn new(builder: &Builder<'_, B>, config: &TextConfig) -> Result<Self, WeightsError> {
        let builder = builder.at("text_model");
        let embeddings = builder.at("embeddings");
        let layer =
            |index: usize| Layer::new(&builder.at(&format!("encoder.layers.{index}")), config);
        let sizes = [config.vocab_size, config.hidden_size];
        Ok(Self {
            words: embeddings.table("token_embedding.weight", sizes)?,
            positions: embeddings.table(
                "position_embedding.weight",
                [config.max_position_embeddings, config.hidden_size],
            )?,
            layers: (0..config.num_hidden_layers)
                .map(layer)
                .collect::<Result<_, _>>()?,
            norm: builder.layer_norm(
                "final_layer_norm",
                config.hidden_size,
                config.layer_norm_eps,
            )?,
        })
    }

    /// How many layers it has.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// How many tokens it takes at a time.
    pub fn positions(&self) -> usize {
        self.positions.dims()[0]
    }

    /// How many words it knows.
    pub fn vocabulary(&self) -> usize {
        self.words.dims()[0]
    }

    /// The vectors of the words of some texts of equal length: `[b, s, hidden]`. Words beyond the
    /// vocabulary count as its last one.
    pub fn embed(&self, texts: &[Vec<u32>]) -> Tokens<B> {
        let [vocabulary, hidden] = self.words.dims();
        let length = texts.first().map_or(0, Vec::len);
        let words: Vec<i32> = texts
            .iter()
            .flatten()
            .map(|&word| (word as usize).min(vocabulary - 1) as i32)
            .collect();
        let count = words.len();
        let words = TensorData::new(words, [count]);
        let words = Tensor::<B, 1, Int>::from_data(words, &self.words.device());
        let vectors = self.words.clone().select(0, words);
        vectors.reshape([count / length.max(1), length, hidden])
    }

    /// Vectors of words `[b, s, hidden]` to what the UNet attends to, in 32-bit floats. The last
    /// `skip` layers are left out, as the WebUI's "clip skip" `skip + 1` does.
    pub fn forward(&self, vectors: Tokens<B>, skip: usize) -> Tokens<B> {
        let [_, length, _] = vectors.dims();
        let positions = self.positions.clone().narrow(0, 0, length);
        let mut hidden = vectors + positions.unsqueeze();
        let count = self.layers.len().saturating_sub(skip).max(1);
        for layer in &self.layers[..count.min(self.layers.len())] {
            hidden = layer.forward(hidden);
        }
        self.norm.forward(hidden).cast(DType::F32)
    }
}
