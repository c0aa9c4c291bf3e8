"""Writes fixtures/diffusion/networks.safetensors: what the networks of the tiny checkpoint make of inputs.

All in 32-bit floats with attention as plain matrix products. Names, and shapes where they are not plain:

- `text.tokens` [2, 77]; `text.last` of both rows, after the last layer norm; of the first row alone
  `text.hidden.<k>`, after k layers and without the norm (so 0 and 1 are what the first layer takes and
  gives), and `text.skip.<n>`, what a clip skip of n gives: the layer norm of what n - 1 layers fewer make
  (so `text.skip.1` would be `text.last`);
- `unet.<case>.x`, `.t` (one timestep a row), `.text`, `.eps`; the case `odd` has sides that do not halve;
- `controlnet.hint` (bytes, 255 is 1) and `.x`, `.t`, `.text`; its residuals `controlnet.down.<i>` and
  `controlnet.mid` at weight 1, and `controlnet.eps`, the UNet's output with them added;
- `vae.encode.<case>.x`, `.mean`, `.logvar`; `vae.decode.<case>.z`, `.y`; z is not scaled;
- `block.<network>.<path>.in`, `.out`, and `.time` where the block takes the embedding of time: single layers
  inside of `unet.one` (the text is `unet.one.text`), `vae.encode.wide`, `vae.decode.two`, the first row of
  text, and the ControlNet (its hint is `controlnet.hint`). Paths are those of diffusers; the text encoder's
  begin with `text_model`.

The metadata `tokens` are pairs of a text and its tokens, without those of begin and end.
"""

import torch

from diffusion_fixture import Fixture, generator, load, normal, settle, tokenizer

TEXTS = [
    "a portrait photo of a smiling woman with green eyes, highly detailed",
    "",
    "  Red\tCAT\n dog's   l33t 2024-style (masterpiece:1.2), <b>1&2</b>",
    "Ünïcödé façade 東京 \U0001f600 naïve Œuvre",
    "i'm you're we've he'll she'd isn't it's 'quoted' \u2019s",
    "word_with_underscores --- ... !!! a1b2c3 ½ ² １２",
]


def main():
    settle()
    fixture = Fixture("networks.safetensors")
    texts(fixture)
    unet = load("unet")
    noise(fixture, unet)
    control(fixture, unet)
    pictures(fixture)
    fixture.write()


class Watch:
    """Keeps the inputs and outputs of named layers while the `with` runs."""

    def __init__(self, fixture, net, prefix, layers):
        self.fixture, self.prefix = fixture, prefix
        self.layers = {name: net.get_submodule(name) for name in layers}

    def __enter__(self):
        self.hooks = [
            layer.register_forward_hook(self.keeper(name), with_kwargs=True)
            for name, layer in self.layers.items()
        ]

    def __exit__(self, *error):
        for hook in self.hooks:
            hook.remove()

    def keeper(self, name):
        place = f"block.{self.prefix}.{name}"

        def keep(layer, inputs, named, output):
            values = {
                "in": inputs[0] if inputs else named.get("hidden_states"),
                "time": inputs[1] if "resnets" in name and self.prefix == "unet" else None,
                "out": getattr(output, "sample", output),
            }
            for role, value in values.items():
                if value is not None:
                    value = first(value)
                    self.fixture.add(f"{place}.{role}", value)

        return keep


def texts(fixture):
    make = tokenizer()
    fixture.note("tokens", [[text, make(text, add_special_tokens=False).input_ids] for text in TEXTS])
    ids = make(TEXTS[:2], padding="max_length", max_length=77).input_ids
    # The second row is full and has no padding.
    ids[1] = [ids[0][0], *generator("tokens").integers(0, len(make) - 2, 75).tolist(), ids[0][-1]]
    tokens = torch.tensor(ids)
    fixture.add("text.tokens", tokens, "i4")
    net = load("text_encoder")
    # The library's paths lack the prefix that the names in published files have.
    prefix = "text_encoder" if hasattr(net, "text_model") else "text_encoder.text_model"
    inner = getattr(net, "text_model", net)
    hidden = [inner.embeddings(tokens[:1])]
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: hidden.append(first(output)))
        for layer in inner.encoder.layers
    ]
    layers = ["encoder.layers.0.self_attn", "encoder.layers.0.mlp"]
    with Watch(fixture, inner, prefix, layers):
        row = net(tokens[:1]).last_hidden_state
    for hook in hooks:
        hook.remove()
    last = net(tokens).last_hidden_state
    assert torch.allclose(last[:1], row, atol=1e-5)
    fixture.add("text.last", last)
    for count, values in enumerate(hidden):
        fixture.add(f"text.hidden.{count}", values)
    for skip in (2, 3):
        fixture.add(f"text.skip.{skip}", inner.final_layer_norm(hidden[-skip]))
    assert torch.equal(row, inner.final_layer_norm(hidden[-1]))


def first(output):
    return output[0] if isinstance(output, tuple) else output


def noise(fixture, unet):
    """The UNet on several shapes."""
    cases = {
        "one": ((1, 12, 8), [501.0], 77),
        "two": ((2, 6, 10), [17.25, 733.5], 77),
        "long_text": ((1, 4, 6), [999.0], 154),
        "odd": ((1, 7, 5), [0.0], 3),
    }
    layers = [
        "time_proj",
        "time_embedding",
        "down_blocks.0.resnets.0",
        "down_blocks.0.attentions.0",
        "down_blocks.0.attentions.0.transformer_blocks.0",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2",
        "down_blocks.0.attentions.0.transformer_blocks.0.ff",
        "down_blocks.0.downsamplers.0",
        "mid_block.attentions.0",
        "up_blocks.0.resnets.0",
        "up_blocks.0.upsamplers.0",
        "conv_norm_out",
    ]
    for case, (shape, times, length) in cases.items():
        rows, *sides = shape
        x = normal(f"unet/{case}/x", rows, 4, *sides)
        text = normal(f"unet/{case}/text", rows, length, 24)
        with Watch(fixture, unet, "unet", layers if case == "one" else []):
            eps = unet(x, torch.tensor(times), text).sample
        for role, values in {"x": x, "t": torch.tensor(times), "text": text, "eps": eps}.items():
            fixture.add(f"unet.{case}.{role}", values)


def control(fixture, unet):
    net = load("controlnet")
    x, text = normal("controlnet/x", 1, 4, 6, 10), normal("controlnet/text", 1, 33, 24)
    time = torch.tensor([250.0])
    hint = generator("controlnet/hint").integers(0, 256, (1, 3, 48, 80))
    with Watch(fixture, net, "controlnet", ["controlnet_cond_embedding"]):
        result = net(x, time, text, torch.from_numpy(hint).float() / 255)
    # The picture is there already, as bytes.
    del fixture.tensors["block.controlnet.controlnet_cond_embedding.in"]
    down, mid = result.down_block_res_samples, result.mid_block_res_sample
    eps = unet(
        x, time, text, down_block_additional_residuals=down, mid_block_additional_residual=mid
    ).sample
    fixture.add("controlnet.hint", hint, "u1")
    for role, values in {"x": x, "t": time, "text": text, "mid": mid, "eps": eps}.items():
        fixture.add(f"controlnet.{role}", values)
    for index, values in enumerate(down):
        fixture.add(f"controlnet.down.{index}", values)


def pictures(fixture):
    """The autoencoder."""
    vae = load("vae")
    encoder = [
        "encoder.down_blocks.1.downsamplers.0",
        "encoder.down_blocks.2.resnets.0",
        "encoder.down_blocks.3.resnets.0",
        "encoder.mid_block.attentions.0",
    ]
    decoder = ["decoder.up_blocks.0.upsamplers.0", "decoder.up_blocks.2.resnets.0"]
    for case, sides in {"wide": (24, 40), "small": (8, 16)}.items():
        x = normal(f"vae/{case}/x", 1, 3, *sides).clamp(-2, 2) / 2
        with Watch(fixture, vae, "vae", encoder if case == "wide" else []):
            found = vae.encode(x).latent_dist
        for role, values in {"x": x, "mean": found.mean, "logvar": found.logvar}.items():
            fixture.add(f"vae.encode.{case}.{role}", values)
    for case, shape in {"wide": (1, 4, 3, 5), "two": (2, 4, 2, 1)}.items():
        z = normal(f"vae/{case}/z", *shape)
        with Watch(fixture, vae, "vae", decoder if case == "two" else []):
            y = vae.decode(z).sample
        fixture.add(f"vae.decode.{case}.z", z)
        fixture.add(f"vae.decode.{case}.y", y)


if __name__ == "__main__":
    main()
