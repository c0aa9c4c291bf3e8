//! The tiny autoencoder: previews of a latent at a small part of the price.
//!
//! Written after the description of TAESD (Ollin Boer Bohan): plain convolutions with ReLU, 64
//! channels, three doublings. Pictures have values from 0 to 1, latents the scale of the UNet.

#[cfg(test)]
mod tests;

use burn::tensor::activation::{relu, tanh};

use crate::models::nn::{Builder, Conv, Kernels, Maps, Window};
use crate::models::weights::{TaesdConfig, WeightsError};

/// Latents are brought softly into three times this range before they are decoded.
const LATENT_RANGE: f64 = 3.0;

/// Three convolutions beside a shortcut.
#[derive(Clone)]
struct Block<B: Kernels>([Conv<B>; 3]);

impl<B: Kernels> Block<B> {
    fn new(builder: &Builder<'_, B>, width: usize) -> Result<Self, WeightsError> {
        let conv = |name| builder.conv(name, width, width, Window::same(3));
        Ok(Self([conv("conv.0")?, conv("conv.2")?, conv("conv.4")?]))
    }

    fn forward(&self, input: Maps<B>) -> Maps<B> {
        let [first, second, third] = &self.0;
        let hidden = relu(first.forward(input.clone()));
        let hidden = relu(second.forward(hidden));
        relu(third.add_to(input, hidden))
    }
}

#[derive(Clone)]
enum Step<B: Kernels> {
    Conv(Conv<B>),
    Block(Block<B>),
    Relu,
    Double,
}

fn run<B: Kernels>(steps: &[Step<B>], input: Maps<B>) -> Maps<B> {
    steps.iter().fold(input, |hidden, step| match step {
        Step::Conv(conv) => conv.forward(hidden),
        Step::Block(block) => block.forward(hidden),
        Step::Relu => relu(hidden),
        Step::Double => B::double(hidden),
    })
}

/// Numbers the steps as diffusers does.
struct Numbered<'a, 'b, B: Kernels> {
    builder: &'a Builder<'b, B>,
    width: usize,
    steps: Vec<Step<B>>,
    next: usize,
}

impl<'a, 'b, B: Kernels> Numbered<'a, 'b, B> {
    fn new(builder: &'a Builder<'b, B>, width: usize) -> Self {
        Self {
            builder,
            width,
            steps: Vec::new(),
            next: 0,
        }
    }

    fn name(&mut self) -> String {
        self.next += 1;
        (self.next - 1).to_string()
    }

    fn conv(&mut self, inputs: usize, outputs: usize) -> Result<(), WeightsError> {
        let name = self.name();
        let conv = self.builder.conv(&name, inputs, outputs, Window::same(3))?;
        self.steps.push(Step::Conv(conv));
        Ok(())
    }

    /// A convolution without a bias.
    fn only(&mut self, window: Window) -> Result<(), WeightsError> {
        let name = self.name();
        let conv = self
            .builder
            .conv_only(&name, self.width, self.width, window)?;
        self.steps.push(Step::Conv(conv));
        Ok(())
    }

    fn blocks(&mut self, count: usize) -> Result<(), WeightsError> {
        for _ in 0..count {
            let name = self.name();
            let block = Block::new(&self.builder.at(&name), self.width)?;
            self.steps.push(Step::Block(block));
        }
        Ok(())
    }

    fn without_weights(&mut self, step: Step<B>) {
        self.next += 1;
        self.steps.push(step);
    }
}

/// Latents to small, quick pictures.
#[derive(Clone)]
pub struct TinyDecoder<B: Kernels>(Vec<Step<B>>);

impl<B: Kernels> TinyDecoder<B> {
    /// Reads it.
    pub fn new(builder: &Builder<'_, B>, config: &TaesdConfig) -> Result<Self, WeightsError> {
        let builder = builder.at("decoder.layers");
        let mut steps = Numbered::new(&builder, config.channels);
        steps.conv(config.latent_channels, config.channels)?;
        steps.without_weights(Step::Relu);
        for _ in 0..3 {
            steps.blocks(3)?;
            steps.without_weights(Step::Double);
            steps.only(Window::same(3))?;
        }
        steps.blocks(1)?;
        steps.conv(config.channels, 3)?;
        Ok(Self(steps.steps))
    }

    /// Latents `[b, h, w, c]` to pictures `[b, 8 h, 8 w, 3]` with values from 0 to 1.
    pub fn forward(&self, latents: Maps<B>) -> Maps<B> {
        let latents = tanh(latents / LATENT_RANGE) * LATENT_RANGE;
        run(&self.0, latents).clamp(0.0, 1.0)
    }
}

/// Pictures to latents.
#[derive(Clone)]
pub struct TinyEncoder<B: Kernels>(Vec<Step<B>>);

impl<B: Kernels> TinyEncoder<B> {
    /// Reads it.
    pub fn new(builder: &Builder<'_, B>, config: &TaesdConfig) -> Result<Self, WeightsError> {
        let builder = builder.at("encoder.layers");
        let mut steps = Numbered::new(&builder, config.channels);
        steps.conv(3, config.channels)?;
        steps.blocks(1)?;
        for _ in 0..3 {
            steps.only(Window::halving())?;
            steps.blocks(3)?;
        }
        steps.conv(config.channels, config.latent_channels)?;
        Ok(Self(steps.steps))
    }

    /// Pictures `[b, h, w, 3]` with values from 0 to 1 to latents `[b, h / 8, w / 8, c]`.
    pub fn forward(&self, pictures: Maps<B>) -> Maps<B> {
        run(&self.0, pictures)
    }
}
