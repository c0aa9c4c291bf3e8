"""What the diffusion scripts share: random numbers, safetensors files, and the tiny checkpoint.

`tiny` is a Stable Diffusion 1.x of 8 and 16 channels with random weights, in the folder layout of
diffusers. `diffusion_checkpoint.py` writes it; the other scripts read it.
"""

import json
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import torch

FIXTURES = Path(__file__).resolve().parent / "fixtures" / "diffusion"
TINY = FIXTURES / "tiny"

KINDS = {
    np.dtype(np.float32): "F32",
    np.dtype(np.float16): "F16",
    np.dtype(np.uint8): "U8",
    np.dtype(np.int32): "I32",
    np.dtype(np.int64): "I64",
}


def settle():
    """Torch on one thread and with the operators that give the same bits each time."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)


def generator(name):
    """Random numbers whose seed is a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def normal(name, *shape):
    """A tensor of normal numbers whose seed is a name."""
    return torch.from_numpy(generator(name).standard_normal(shape).astype(np.float32))


class Fixture:
    """The tensors of one file."""

    def __init__(self, file):
        self.path = FIXTURES / file
        self.tensors, self.notes = {}, {}

    def add(self, name, values, kind=np.float32):
        """Keeps an array or a tensor under `name`."""
        assert name not in self.tensors, name
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().numpy()
        values = np.ascontiguousarray(values)
        if values.dtype.kind == "f":
            assert np.isfinite(values).all(), name
        self.tensors[name] = values.astype(kind)

    def note(self, name, value):
        """Keeps a value in the metadata, as JSON."""
        self.notes[name] = json.dumps(value)

    def write(self):
        """Writes the file and says how large it is."""
        write(self.path, self.tensors, made_by() | self.notes)


def made_by():
    """The metadata that say how a file came to be."""
    import diffusers
    import transformers

    return {
        "command": "python tests/reference/" + os.path.basename(sys.argv[0]),
        "torch": torch.__version__.split("+")[0],
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
    }


def write(path, tensors, metadata=None):
    """A safetensors file. The library's writer orders the metadata anew each time; this one does not."""
    # The largest kinds first, so that each begins at a multiple of its size.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header, blocks, end = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name in names:
        block = tensors[name].tobytes()
        start, end = end, end + len(block)
        kind, shape = KINDS[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
        blocks.append(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def load(part, folder=TINY):
    """One network of the tiny checkpoint, computing in 32-bit floats."""
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from transformers import CLIPTextModel

    kinds = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "controlnet": ControlNetModel,
    }
    place = FIXTURES / "tiny_controlnet" if part == "controlnet" else folder / part
    # Attention by a matrix product, a softmax and a matrix product, not by a fused operator.
    more = {"attn_implementation": "eager"} if part == "text_encoder" else {}
    net = kinds[part].from_pretrained(place, dtype=torch.float32, **more).eval()
    if part != "text_encoder":
        plain_attention(net)
    return net


def plain_attention(net):
    """Lets a network of diffusers compute attention by plain matrix products."""
    from diffusers.models.attention_processor import AttnProcessor

    net.set_attn_processor(AttnProcessor())


def tokenizer():
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(TINY / "tokenizer")


def scheduler_config():
    return json.loads((TINY / "scheduler" / "scheduler_config.json").read_text())


class Philox:
    """The normal numbers that the WebUI draws for a seed: Philox-4x32-10 and one number by Box-Muller.

    Value i of draw k comes from the counter (k, 0, i, 0), whose first two results make it; the key is the
    seed, low word first.
    """

    MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    STEPS = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)

    def __init__(self, seed):
        self.key = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
        self.draws = 0

    def normal(self, *shape):
        count = int(np.prod(shape))
        words = np.zeros((4, count), np.uint32)
        words[0], words[2] = self.draws, np.arange(count)
        self.draws += 1
        first, second = self.rounds(words)[:2].astype(np.float64)
        u = first * 2.0**-32 + 2.0**-33
        v = (second * 2.0**-32 + 2.0**-33) * 2 * np.pi
        values = np.sqrt(-2 * np.log(u)) * np.sin(v)
        return torch.from_numpy(values.astype(np.float32).reshape(shape))

    def rounds(self, words):
        key = list(self.key)
        with np.errstate(over="ignore"):
            for _ in range(10):
                one = words[0] * self.MULTIPLIERS[0]
                two = words[2] * self.MULTIPLIERS[1]
                words = np.stack(
                    [
                        (two >> np.uint64(32)).astype(np.uint32) ^ words[1] ^ key[0],
                        two.astype(np.uint32),
                        (one >> np.uint64(32)).astype(np.uint32) ^ words[3] ^ key[1],
                        one.astype(np.uint32),
                    ]
                )
                key = [key[0] + self.STEPS[0], key[1] + self.STEPS[1]]
        return words


class Noise:
    """The draws of a request: one stream of numbers for each picture."""

    def __init__(self, request):
        self.shape = 4, request["height"] // 8, request["width"] // 8
        self.streams = [Philox(request["seed"] + index) for index in range(request["batch_size"])]

    def draw(self):
        return torch.stack([stream.normal(*self.shape) for stream in self.streams])


def sampled(pipe, request, **given):
    """The latents that a pipeline of diffusers makes of a request, from the WebUI's noise."""
    return pipe(
        **given,
        width=request["width"],
        height=request["height"],
        num_inference_steps=request["steps"],
        guidance_scale=request["cfg_scale"],
        latents=Noise(request).draw(),
        output_type="latent",
    ).images


def picture_bytes(decoded):
    """Decoded values from -1 to 1 as bytes, a row of pixels after the other."""
    unit = ((decoded + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    return (255.0 * unit).astype(np.uint8)
