"""Writes fixtures/diffusion/full.safetensors: Stable Diffusion 1.5 in its real widths, on small inputs.

No weights are stored: both sides compute them. For a parameter with the name N (that of diffusers in the
files of the folder layout, without the network: `down_blocks.0.resnets.0.conv1.weight`,
`encoder.mid_block.attentions.0.to_q.weight`, `text_model.encoder.layers.0.mlp.fc1.bias`) and the flat
index i, with all integers of 64 bits that wrap:

    h = FNV-1a of the bytes of N          (from 0xCBF29CE484222325, times 0x100000001B3 after each xor)
    z = h + i * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    z = z ^ (z >> 31)
    u = (z >> 40) / 2^23 - 1              (from -1 to below 1; exact in a 32-bit float)

The value, in 32-bit floats with a rounding after each operation, is

    0.035 * u                             where N ends with `embedding.weight`
    1 + 0.1 * u                           for other weights of one axis (the norms)
    0.05 * u                              for biases (one axis)
    s * u, s = sqrt(3 / fan_in)           for the rest; fan_in is the product of all axes but the first,
                                          and s is computed in 64 bits and then rounded to 32

and then it is rounded to a 16-bit float, to even. (Few are too small for a normal 16-bit float; those
are rounded to a subnormal one.) Inputs are s * u with s = sqrt(3), computed likewise from the names below,
and not rounded to 16 bits:

- `input.unet.x` [1, 4, 8, 8], `input.unet.text` [1, 77, 768], at the timestep 321;
- `input.vae.x` [1, 3, 32, 32], halved; `input.vae.z` [1, 4, 4, 4].

The file holds `unet.eps`; `text.tokens` [1, 77], `text.last.sample`, every 16th number of the
last states after the norm from the first on, `text.skip.2.sample`, the same for a clip skip of 2, and
`text.last.moments`, `text.skip.2.moments`, the mean and the standard deviation of all of them; `vae.mean`,
`vae.logvar`, and `vae.y`. It has samples of weights, too: `weight.<name>`, the first 8 values.
All are 32-bit floats except the tokens.
"""

import gc

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from diffusion_fixture import Fixture, generator, plain_attention, settle

# Parameters whose first values are in the file, one of each kind.
SHOWN = [
    "down_blocks.0.resnets.0.conv1.weight",
    "down_blocks.0.resnets.0.norm1.weight",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    "conv_out.bias",
    "text_model.embeddings.token_embedding.weight",
    "text_model.final_layer_norm.bias",
    "decoder.mid_block.attentions.0.to_out.0.weight",
]


def main():
    settle()
    fixture = Fixture("full.safetensors")
    text(fixture)
    autoencoder(fixture)
    unet(fixture)
    fixture.write()


def uniform(name, count):
    """The numbers u of a name."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    z = np.arange(count, dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(state)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    z >>= np.uint64(40)
    return z.astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def parameter(name, shape):
    values = uniform(name, int(np.prod(shape)))
    if name.endswith("embedding.weight"):
        values *= np.float32(0.035)
    elif len(shape) == 1 and name.endswith("weight"):
        values = values * np.float32(0.1) + np.float32(1)
    elif len(shape) == 1:
        values *= np.float32(0.05)
    else:
        values *= np.float32(np.sqrt(3 / np.prod(shape[1:])))
    return torch.from_numpy(values.astype(np.float16).astype(np.float32).reshape(shape))


def given(name, *shape):
    """An input."""
    values = uniform(name, int(np.prod(shape))) * np.float32(np.sqrt(3))
    return torch.from_numpy(values.reshape(shape))


def fill(fixture, net, prefix=""):
    """Computes the weights of a network."""
    for name, values in net.named_parameters():
        name = name if name.startswith(prefix) else prefix + name
        values.copy_(parameter(name, tuple(values.shape)))
        if name in SHOWN:
            fixture.add(f"weight.{name}", values.flatten()[:8])
    return net.eval()


def text(fixture):
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=1,
        attn_implementation="eager",
    )
    net = fill(fixture, CLIPTextModel(config), "text_model.")
    words = generator("full/tokens").integers(0, 49406, 20)
    tokens = torch.tensor([[49406, *words, *[49407] * 56]])
    fixture.add("text.tokens", tokens, np.int32)
    inner = getattr(net, "text_model", net)
    found = []
    inner.encoder.layers[-2].register_forward_hook(
        lambda layer, inputs, output: found.append(output[0] if isinstance(output, tuple) else output)
    )
    last = net(tokens).last_hidden_state
    for name, values in {"text.last": last, "text.skip.2": inner.final_layer_norm(found[0])}.items():
        fixture.add(f"{name}.sample", values.flatten()[::16])
        fixture.add(f"{name}.moments", torch.stack([values.mean(), values.std(correction=0)]))


def autoencoder(fixture):
    net = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=32,
        sample_size=512,
    )
    plain_attention(fill(fixture, net))
    found = net.encode(given("input.vae.x", 1, 3, 32, 32) / 2).latent_dist
    fixture.add("vae.mean", found.mean)
    fixture.add("vae.logvar", found.logvar)
    fixture.add("vae.y", net.decode(given("input.vae.z", 1, 4, 4, 4)).sample)


def unet(fixture):
    net = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=8,
        cross_attention_dim=768,
        norm_num_groups=32,
    )
    gc.collect()
    plain_attention(fill(fixture, net))
    text = given("input.unet.text", 1, 77, 768)
    eps = net(given("input.unet.x", 1, 4, 8, 8), torch.tensor([321]), text).sample
    fixture.add("unet.eps", eps)


if __name__ == "__main__":
    main()
