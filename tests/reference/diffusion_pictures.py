"""Writes fixtures/diffusion/pictures.safetensors and pictures.json: whole runs of the tiny checkpoint.

`pictures.json` is a list of requests; the fields are those of the WebUI's interface where it has one. For
each request the other file holds `<name>.latent` (f32: the sample before it is divided by 0.18215 and
decoded) and, where it is worth its size, `<name>.picture` (bytes, rows of pixels). `euler_a` also has
`euler_a.decoded` (f16, from -1 to 1, not cut off). Pictures become bytes as in the WebUI:
255 * clamp((x + 1) / 2) cut to an integer. Where a request names another one as `init_image` or `control`,
it means the first `.picture` of that one.

The parts come from these places:

- DDIM, with LoRA, ControlNet or a textual inversion: the pipelines of diffusers, from given noise;
- Euler, Euler a, DPM++ 2M and 2M SDE, also for velocity: samplers and wrappers of k-diffusion;
- noise: the WebUI's numbers (`Philox` in diffusion_fixture.py). Picture i of a batch has the seed + i. Draw
  0 is the first noise; a sampler that adds noise takes one draw for each step that adds some;
- guidance, image to image, inpainting and weighted prompts: the WebUI's rules, written down here.

The LoRA has the rank 2 and the alpha 1: `tiny_lora_kohya.safetensors`, and the same for diffusers in
`tiny_lora_diffusers.safetensors`, where half of alpha is in the second factor, for that form has no alpha.
"""

import json
import sys
import types
from importlib.metadata import version
from pathlib import Path

import cv2
import diffusers
import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
)
from PIL import Image, ImageOps

from diffusion_fixture import (
    FIXTURES,
    TINY,
    Fixture,
    Noise,
    generator,
    load,
    picture_bytes,
    plain_attention,
    sampled,
    scheduler_config,
    settle,
    tokenizer,
    write,
)

SCALE = 0.18215
RANK, ALPHA = 2, 1.0

BASE = {
    "prompt": "a portrait photo of a smiling woman, green eyes",
    "negative_prompt": "blurry, ugly",
    "seed": 1234567890123,
    "batch_size": 1,
    "width": 64,
    "height": 80,
    "steps": 8,
    "cfg_scale": 7.0,
}
WIDE = {"width": 96, "height": 64}
LONG = " ".join(["a beautiful detailed oil painting of an old man wearing a dark suit and a golden hat"] * 5)


def main():
    settle()
    lora_files()
    runs = Runs()
    runs.pipelines()
    runs.samplers()
    runs.prompts()
    runs.from_pictures()
    runs.velocity()
    runs.write()


class Runs:
    """The requests, and what came of them."""

    def __init__(self):
        self.fixture, self.requests = Fixture("pictures.safetensors"), []
        self.unet, self.vae, self.text = load("unet"), load("vae"), load("text_encoder")
        self.make = tokenizer()

    def write(self):
        for package in ("k-diffusion", "peft"):
            self.fixture.notes[package] = version(package)
        self.fixture.write()
        path = FIXTURES / "pictures.json"
        path.write_text(json.dumps(self.requests, indent=1, ensure_ascii=False) + "\n")
        print(f"{path.name}: {len(self.requests)} requests, {path.stat().st_size} bytes")

    def keep(self, name, request, latent, picture=True):
        """Keeps a request with its latents, and the decoded pictures as bytes; gives the bytes.

        `picture` "exact" keeps the decoded numbers too.
        """
        self.requests.append({"name": name} | request)
        self.fixture.add(f"{name}.latent", latent)
        decoded = self.vae.decode(latent / SCALE).sample
        pixels = picture_bytes(decoded)
        if picture:
            self.fixture.add(f"{name}.picture", pixels, np.uint8)
        if picture == "exact":
            self.fixture.add(f"{name}.decoded", decoded, np.float16)
        return pixels

    # Runs of diffusers' pipelines.

    def pipelines(self):
        request = BASE | {"sampler_name": "DDIM"}
        two = request | WIDE | {"batch_size": 2}
        pixels = self.keep("ddim", two, self.pipeline(two))
        self.first = pixels[0]
        short = request | {"negative_prompt": "", "cfg_scale": 1.0}
        self.keep("no_guidance", short, self.pipeline(short), picture=False)

        weighted = request | {"lora": "tiny_lora_kohya.safetensors", "lora_weight": 0.8}
        latent = self.pipeline(weighted, lora="tiny_lora_kohya.safetensors")
        again = self.pipeline(weighted, lora="tiny_lora_diffusers.safetensors")
        assert torch.allclose(latent, again, atol=1e-3), (latent - again).abs().max()
        assert torch.allclose(latent, self.pipeline(weighted, merged=0.8), atol=1e-3)
        self.keep("lora", weighted, latent)

        held = request | WIDE | {"control": "ddim", "control_weight": 0.7}
        self.keep("controlnet", held, self.pipeline(held, control=self.first))

        forms = [("webui", "tiny_embedding_webui", 1), ("diffusers", "<two-vectors>", 2)]
        for form, word, count in forms:
            file = f"tiny_embedding_{form}.safetensors"
            inverted = request | {"prompt": f"a photo of {word}, smiling", "embedding": file}
            latent = self.pipeline(inverted, embedding=(file, word))
            texts = [self.inverted(inverted["prompt"], file, word), self.encode(request["negative_prompt"])]
            by_hand = self.pipeline(request, texts=texts)
            assert torch.allclose(latent, by_hand, atol=1e-3), (latent - by_hand).abs().max()
            self.keep(f"embedding_{count}", inverted, latent, picture=False)

        skipped = request | {"clip_skip": 2}
        # The pipeline skips layers for the prompt alone; the WebUI does for both.
        texts = [self.skipped(request[field]) for field in ("prompt", "negative_prompt")]
        self.keep("clip_skip", skipped, self.pipeline(skipped, texts=texts), picture=False)

    def pipeline(self, request, lora=None, merged=None, control=None, embedding=None, texts=None,
                 velocity=False):
        """The latents that a pipeline of diffusers makes."""
        kind = StableDiffusionPipeline if control is None else StableDiffusionControlNetPipeline
        more = {} if control is None else {"controlnet": load("controlnet")}
        pipe = kind.from_pretrained(TINY, dtype=torch.float32, safety_checker=None, **more)
        pipe.set_progress_bar_config(disable=True)
        plain_attention(pipe.unet)
        if velocity:
            config = json.loads((FIXTURES / "tiny_v_prediction.json").read_text())
            pipe.scheduler = DDIMScheduler.from_config(config)
        if lora:
            pipe.load_lora_weights(FIXTURES, weight_name=lora, adapter_name="one")
            pipe.set_adapters("one", request["lora_weight"])
        if merged:
            merge(pipe, merged)
        if embedding:
            file, word = embedding
            pipe.load_textual_inversion(FIXTURES / file, token=word)
        fields = "prompt", "negative_prompt"
        given = {field: [request[field]] * request["batch_size"] for field in fields}
        if texts:
            given = {"prompt_embeds": texts[0], "negative_prompt_embeds": texts[1]}
        if control is not None:
            given["image"] = torch.from_numpy(control).permute(2, 0, 1)[None].float() / 255
            given["controlnet_conditioning_scale"] = request["control_weight"]
        return sampled(pipe, request, **given)

    def inverted(self, prompt, file, word):
        """The encoded prompt with the vectors of a textual inversion in the place of its word."""
        from safetensors.torch import load_file

        (vectors,) = load_file(FIXTURES / file).values()
        before, after = prompt.split(word)
        ids = [self.make(part, add_special_tokens=False).input_ids for part in (before, after)]
        begin, end = self.make("").input_ids
        row = [begin, *ids[0], *[end] * len(vectors), *ids[1]]
        row += [end] * (77 - len(row))
        table = inner(self.text).embeddings.token_embedding
        place = 1 + len(ids[0])

        def put(layer, inputs, output):
            output[:, place : place + len(vectors)] = vectors.float()
            return output

        hook = table.register_forward_hook(put)
        encoded = self.text(torch.tensor([row])).last_hidden_state
        hook.remove()
        return encoded

    def skipped(self, prompt):
        """A prompt of one chunk, encoded without the last layer of the text encoder."""
        row = self.make(prompt, padding="max_length", max_length=77).input_ids
        found = []
        layers = inner(self.text).encoder.layers
        keep = layers[-2].register_forward_hook(lambda layer, inputs, output: found.append(output))
        self.text(torch.tensor([row]))
        keep.remove()
        values = found[0][0] if isinstance(found[0], tuple) else found[0]
        return inner(self.text).final_layer_norm(values)

    # Runs of k-diffusion's samplers.

    def samplers(self):
        for name, sampler, schedule in [
            ("euler", "Euler", "Automatic"),
            ("euler_a", "Euler a", "Automatic"),
            ("dpmpp_2m", "DPM++ 2M", "Karras"),
            ("dpmpp_2m_sde", "DPM++ 2M SDE", "Karras"),
        ]:
            request = BASE | {"sampler_name": sampler, "scheduler": schedule}
            self.keep(name, request, self.sample(request), picture="exact" if name == "euler_a" else False)
        two = BASE | {"sampler_name": "Euler a", "scheduler": "Karras", "batch_size": 2, "steps": 5}
        self.keep("euler_a_batch", two, self.sample(two), picture=False)

    def sample(self, request, texts=None, start=None, mask=None, velocity=False):
        """The latents by a sampler of k-diffusion; from the latents `start` if given, where `mask` is 1."""
        noise = Noise(request)
        if texts is None:
            texts = [self.encode(request["prompt"]), self.encode(request["negative_prompt"])]
        wrapped = (external.CompVisVDenoiser if velocity else external.CompVisDenoiser)(Model(self.unet))
        sigmas = wrapped.get_sigmas(request["steps"])
        if request["scheduler"] == "Karras":
            low, high = wrapped.sigmas[0].item(), wrapped.sigmas[-1].item()
            sigmas = sampling.get_sigmas_karras(request["steps"], low, high)
        if start is not None:
            kept = int(min(request["denoising_strength"], 0.999) * request["steps"])
            sigmas = sigmas[request["steps"] - kept - 1 :]
        x = noise.draw() * sigmas[0] + (0 if start is None else start)
        guided = Guided(wrapped, texts, request["cfg_scale"], start, mask)
        samplers = {
            "Euler": sampling.sample_euler,
            "Euler a": sampling.sample_euler_ancestral,
            "DPM++ 2M": sampling.sample_dpmpp_2m,
            "DPM++ 2M SDE": sampling.sample_dpmpp_2m_sde,
        }
        name = request["sampler_name"]
        drawn = {}
        if name in ("Euler a", "DPM++ 2M SDE"):
            drawn["noise_sampler"] = lambda sigma, next_sigma: noise.draw()
        x = samplers[name](guided, x, sigmas, disable=True, **drawn)
        return x if mask is None else x * mask + start * (1 - mask)

    # Prompts.

    def encode(self, prompt, weights=None):
        """A prompt without syntax, in chunks of 75 tokens; `weights` gives each token's."""
        ids = self.make(prompt, add_special_tokens=False, truncation=False).input_ids
        weights = weights or [1.0] * len(ids)
        begin, end = self.make("").input_ids
        chunks = []
        for at in range(0, max(1, len(ids)), 75):
            part, heavy = ids[at : at + 75], weights[at : at + 75]
            padding = 75 - len(part)
            row = torch.tensor([[begin, *part, *[end] * (padding + 1)]])
            encoded = self.text(row).last_hidden_state
            mean = encoded.mean()
            encoded = encoded * torch.tensor([1.0, *heavy, *[1.0] * (padding + 1)])[None, :, None]
            chunks.append(encoded * (mean / encoded.mean()))
        return torch.cat(chunks, dim=1)

    def weighted(self, *parts):
        """A prompt of pairs of a text and its weight."""
        ids = [self.make(text, add_special_tokens=False).input_ids for text, _ in parts]
        weights = [weight for one, (_, weight) in zip(ids, parts) for _ in one]
        joined = " ".join(text.strip() for text, _ in parts)
        assert self.make(joined, add_special_tokens=False).input_ids == sum(ids, [])
        return self.encode(joined, weights)

    def prompts(self):
        way = {"sampler_name": "Euler", "scheduler": "Automatic"}
        negative = self.encode(BASE["negative_prompt"])
        request = BASE | way | {"prompt": "(red:1.4) cat"}
        texts = [self.weighted(("red", 1.4), ("cat", 1.0)), negative]
        self.fixture.add("weighted.text", texts[0])
        self.keep("weighted", request, self.sample(request, texts), picture=False)

        request = BASE | way | {"prompt": "a ((red)) cat and [blue] (dog) by (a (golden:1.5) river)"}
        parts = [("a", 1.0), ("red", 1.21), ("cat and", 1.0), ("blue", 1 / 1.1), ("dog", 1.1),
                 ("by", 1.0), ("a", 1.1), ("golden", 1.65), ("river", 1.1)]
        self.keep("nested", request, self.sample(request, [self.weighted(*parts), negative]), picture=False)

        request = BASE | way | {"prompt": LONG}
        texts = [self.encode(LONG), negative]
        assert texts[0].shape[1] == 154, texts[0].shape
        self.keep("chunks", request, self.sample(request, texts), picture=False)
        padded = request | {"pad_negative_prompt": True}
        texts = [texts[0], torch.cat([negative, self.encode("")], dim=1)]
        self.keep("chunks_padded", padded, self.sample(request, texts), picture=False)

    # From a picture.

    def from_pictures(self):
        x = torch.from_numpy(self.first).permute(2, 0, 1)[None].float() / 255 * 2 - 1
        start = self.vae.encode(x).latent_dist.mean * SCALE
        self.fixture.add("img2img.start", start)
        request = BASE | WIDE | {"init_image": "ddim", "denoising_strength": 0.45, "steps": 12}
        karras = request | {"sampler_name": "DPM++ 2M", "scheduler": "Karras"}
        self.keep("img2img", karras, self.sample(karras, start=start))
        whole = request | {"denoising_strength": 1.0, "steps": 6}
        whole |= {"sampler_name": "Euler a", "scheduler": "Automatic"}
        self.keep("img2img_whole", whole, self.sample(whole, start=start), picture=False)

        mask = np.zeros((64, 96), np.uint8)
        mask[13:50, 21:70] = 255
        blurred = blur(mask, 4)
        latent = Image.fromarray(blurred).convert("RGB").resize((96 // 8, 64 // 8))
        rounded = np.around(np.asarray(latent)[..., 0].astype(np.float32) / 255)
        for name, values in {"mask": mask, "mask.blurred": blurred}.items():
            self.fixture.add(f"inpaint.{name}", values, np.uint8)
        self.fixture.add("inpaint.mask.latent", rounded)
        karras |= {"mask": "inpaint.mask", "mask_blur": 4, "inpainting_fill": 1}
        karras |= {"denoising_strength": 0.7}
        sample = self.sample(karras, start=start, mask=torch.from_numpy(rounded))
        pixels = self.keep("inpaint", karras, sample)
        self.fixture.add("inpaint.overlaid", overlay(pixels[0], self.first, blurred)[None], np.uint8)

    # A model that predicts velocity.

    def velocity(self):
        request = BASE | {"sampler_name": "DDIM", "model": "tiny_v_prediction.json"}
        self.keep("velocity_ddim", request, self.pipeline(request, velocity=True))
        request |= {"sampler_name": "DPM++ 2M", "scheduler": "Karras"}
        self.keep("velocity_dpmpp_2m", request, self.sample(request, velocity=True), picture=False)


class Model:
    """The UNet as k-diffusion's wrappers expect it."""

    def __init__(self, unet):
        self.unet = unet
        config = scheduler_config()
        ends = config["beta_start"] ** 0.5, config["beta_end"] ** 0.5
        betas = np.linspace(*ends, config["num_train_timesteps"]) ** 2
        self.alphas_cumprod = torch.from_numpy(np.cumprod(1 - betas).astype(np.float32))

    def apply_model(self, x, t, cond):
        return self.unet(x, t, cond).sample


class Guided:
    """A denoiser with guidance; outside of `mask` it gives the latents `start`."""

    def __init__(self, denoiser, texts, scale, start, mask):
        self.denoiser, self.scale, self.start, self.mask = denoiser, scale, start, mask
        self.texts = texts

    def __call__(self, x, sigma):
        # The two texts may differ in length, so they run one after the other.
        texts = [text.expand(len(x), -1, -1) for text in self.texts]
        wanted, unwanted = (self.denoiser(x, sigma, cond=text) for text in texts)
        guided = unwanted + self.scale * (wanted - unwanted)
        return guided if self.mask is None else guided * self.mask + self.start * (1 - self.mask)


def blur(mask, radius):
    """The WebUI's blur of a mask."""
    size = 2 * int(2.5 * radius + 0.5) + 1
    mask = cv2.GaussianBlur(mask, (size, 1), radius)
    return cv2.GaussianBlur(mask, (1, size), radius)


def overlay(made, original, blurred):
    """The new picture under the part of the original that is to stay."""
    opaque = Image.fromarray(np.clip(blurred.astype(float) * 2, 0, 255).astype(np.uint8))
    original = Image.fromarray(original)
    kept = Image.new("RGBa", original.size)
    kept.paste(original.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(opaque))
    picture = Image.fromarray(made).convert("RGBA")
    picture.alpha_composite(kept.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def inner(text):
    """The part of a text encoder that has the layers."""
    return getattr(text, "text_model", text)


def lora_layers():
    """The layers that the LoRA changes: the network, the path in the names of diffusers, the weights."""
    blocks = "down_blocks.0.attentions.0", "up_blocks.1.attentions.1"
    layers = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")
    for path, layer in load("unet").named_modules():
        if path.startswith(blocks) and path.endswith(layers):
            yield "unet", path, layer.weight
    blocks, layers = ("encoder.layers.0", "encoder.layers.2"), ("_proj", "fc1", "fc2")
    for path, layer in inner(load("text_encoder")).named_modules():
        if path.startswith(blocks) and path.endswith(layers):
            yield "text_encoder", "text_model." + path, layer.weight


def lora_factors(network, path, weight):
    """Two factors, down [rank, in] and up [out, rank], with the axes of a convolution if it is one."""
    random = generator(f"lora/{network}/{path}")
    out, size, *window = weight.shape
    down = random.standard_normal((RANK, size, *window)) / np.sqrt(size)
    up = random.standard_normal((out, RANK, *window)) * 0.8
    return down.astype(np.float16), up.astype(np.float16)


def lora_files():
    kohya, current = {}, {}
    for network, path, weight in lora_layers():
        down, up = lora_factors(network, path, weight)
        prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[network] + path.replace(".", "_")
        kohya[prefix + ".lora_down.weight"] = down
        kohya[prefix + ".lora_up.weight"] = up
        kohya[prefix + ".alpha"] = np.array(ALPHA, np.float16)
        current[f"{network}.{path}.lora_A.weight"] = down
        current[f"{network}.{path}.lora_B.weight"] = up * np.float16(ALPHA / RANK)
    notes = {
        "ss_base_model_version": "sd_v1",
        "ss_network_alpha": str(ALPHA),
        "ss_network_dim": str(RANK),
        "ss_network_module": "networks.lora",
        "ss_output_name": "tiny_lora",
        "ss_v2": "False",
    }
    write(FIXTURES / "tiny_lora_kohya.safetensors", kohya, notes)
    write(FIXTURES / "tiny_lora_diffusers.safetensors", current, {"format": "pt"})


def merge(pipe, multiplier):
    """Adds the LoRA to the weights of a pipeline, as `W + multiplier * alpha / rank * up * down`."""
    for network, path, weight in lora_layers():
        down, up = (torch.from_numpy(one).float() for one in lora_factors(network, path, weight))
        net = pipe.unet if network == "unet" else inner(pipe.text_encoder)
        layer = net.get_submodule(path.removeprefix("text_model."))
        change = up.flatten(1) @ down.flatten(1)
        layer.weight += (multiplier * ALPHA / RANK) * change.reshape(layer.weight.shape)


def k_diffusion():
    """The two modules of k-diffusion that are needed; the others, and torchvision, are not."""
    package = types.ModuleType("k_diffusion")
    places = [Path(path) / "k_diffusion" for path in sys.path]
    package.__path__ = [str(place) for place in places if (place / "sampling.py").exists()]
    sys.modules["k_diffusion"] = package
    if "torchvision" not in sys.modules:
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torchvision.transforms"].functional = sys.modules["torchvision.transforms.functional"]
    from k_diffusion import external, sampling

    return external, sampling


diffusers.utils.logging.set_verbosity_error()
external, sampling = k_diffusion()

if __name__ == "__main__":
    main()
