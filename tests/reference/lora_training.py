"""Writes fixtures/diffusion/training.safetensors: what training a LoRA makes of it, by PyTorch, diffusers and PEFT.

The base is the tiny checkpoint, in 32-bit floats and with attention as plain matrix products. The adapter is
PEFT's, of rank 4 and alpha 2, on the layers of `TARGETS`: 48 of the UNet and 18 of the text encoder. Each case
is ten steps of torch's AdamW (betas 0.9 and 0.999, epsilon 1e-8, decay 1e-2) at 1e-3 for the UNet and
5e-4 for the text encoder. Before each, the gradient of all factors of both networks is clipped to the norm 1.
The text is the text encoder's output after its last layer norm.

Factors have the names of kohya's files (`<factor>` below), `lora_unet_...` or `lora_te_...` with
`.lora_down.weight` or `.lora_up.weight` behind; down [4, in] and up [out, 4], with two more axes of 1 where the
layer is a convolution. Tensors:

- `start.<factor>`: what all cases begin with: down is uniform up to 1/sqrt(in), up is random and not zero, so
  that the gradient of down is not zero either. The case `first` begins with the same down and with up of zeros;
- `<case>.tokens` [b, 77] (i32): the captions of a micro-batch, the same for all of them;
- `<case>.latents`, `<case>.noise` [n, 4, h, w]: clean latents, scaled already, and normal numbers. Rows are in
  the order of steps, then of the step's micro-batches, then of the pictures of one;
- `<case>.timesteps` [n] (i32), in the same order;
- `<case>.rates` [10, 2]: the rates of the UNet and of the text encoder in each step;
- `<case>.losses` [10, m]: the loss of each micro-batch. A step's loss is their mean, as its gradient is;
- `<case>.norms` [10]: the norm of a step's gradient before it is clipped;
- `<case>.gradient.<factor>`: the gradient in the first step, before it is clipped;
- `<case>.trained.<factor>`: the factor after the ten steps.

| case | pictures | what is peculiar |
| --- | --- | --- |
| `plain` | 2 of 4 x 6 | nothing: noise is predicted, rates are constant |
| `first` | those of `plain` | up begins with zeros; has no inputs of its own and no gradient |
| `full` | 2 x 2 of 6 x 10 | two micro-batches a step, min-SNR with gamma 5, noise offset 0.1, a cosine from the rates to zero over the ten steps, both captions equal |
| `velocity` | 2 of 6 x 4 | velocity is predicted, min-SNR with gamma 5, the UNet alone has an adapter |

`full.noise` is the noise before the offset; `full.offset` [n, 4] has the normal numbers of the offset, so the
noise that is added and predicted is `noise + 0.1 * offset`. A picture's loss is the mean of its squared
differences, times its weight if there is min-SNR; a micro-batch's is the mean of those. In each case the last
two timesteps are 0 and 999.

The script trains a second time with 64-bit floats and prints how far apart both are, each difference as a share
of the largest number of its tensor: another implementation will not come closer.
"""

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from math import cos, pi

import diffusers
import numpy as np
import torch
import transformers
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from peft import LoraConfig, inject_adapter_in_model

from diffusion_fixture import Fixture, generator, load, normal, scheduler_config, settle, tokenizer

STEPS = 10
RANK, ALPHA = 4, 2
RATES = {"unet": 1e-3, "text_encoder": 5e-4}
GAMMA = 5.0
OFFSET = 0.1
TARGETS = {
    "unet": ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"],
    "text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
}
PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}
# How large the up factors are at the start: so that they matter beside the layers themselves.
UP = 0.3
CAPTIONS = "a portrait photo of a woman with green eyes", "an old man in a dark suit, oil painting"


@dataclass
class Case:
    """How to train."""

    name: str
    height: int
    width: int
    captions: tuple = CAPTIONS
    micro_batches: int = 1
    offset: float = 0.0
    gamma: float | None = None
    cosine: bool = False
    velocity: bool = False
    networks: tuple = ("unet", "text_encoder")
    zero: bool = False
    inputs: str = ""

    def rate(self, step):
        """The share of the full rates in a step, the first of which is 0."""
        return 0.5 * (1 + cos(pi * step / STEPS)) if self.cosine else 1.0

    @cached_property
    def rows(self):
        """Tokens of the captions, and what goes by rows: latents, noise, timesteps, offsets."""
        name = self.inputs or self.name
        count = STEPS * self.micro_batches * len(self.captions)
        shape = count, 4, self.height, self.width
        timesteps = generator(f"training/{name}/timesteps").integers(0, 1000, count)
        timesteps[-2:] = 0, 999
        ids = tokenizer()(list(self.captions), padding="max_length", max_length=77).input_ids
        return {
            "tokens": torch.tensor(ids),
            "latents": normal(f"training/{name}/latents", *shape),
            "noise": normal(f"training/{name}/noise", *shape),
            "timesteps": torch.from_numpy(timesteps),
            "offset": normal(f"training/{name}/offset", count, 4),
        }


CASES = [
    Case("plain", 4, 6),
    Case("first", 4, 6, zero=True, inputs="plain"),
    Case("full", 6, 10, CAPTIONS[:1] * 2, micro_batches=2, offset=OFFSET, gamma=GAMMA, cosine=True),
    Case("velocity", 6, 4, gamma=GAMMA, velocity=True, networks=("unet",)),
]


def main():
    settle()
    torch.set_grad_enabled(True)
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    fixture = Fixture("training.safetensors")
    for name, values in Training(CASES[0]).factors():
        fixture.add(f"start.{name}", values)
    for case in CASES:
        results, exact = Training(case).run(), Training(case, torch.float64).run()
        say(case, results, exact)
        if not case.inputs:
            for name in ("latents", "noise"):
                fixture.add(f"{case.name}.{name}", case.rows[name])
            for name in ("tokens", "timesteps"):
                fixture.add(f"{case.name}.{name}", case.rows[name], np.int32)
        if case.offset:
            fixture.add(f"{case.name}.offset", case.rows["offset"])
        for name, values in results.items():
            if not (case.zero and name.startswith("gradient")):
                fixture.add(f"{case.name}.{name}", values)
    fixture.notes["peft"] = version("peft")
    fixture.write()


class Training:
    """The two networks with the adapters of a case, and their optimiser."""

    def __init__(self, case, kind=torch.float32):
        self.case, self.kind = case, kind
        self.nets = {part: load(part).to(kind).requires_grad_(False) for part in TARGETS}
        for part in case.networks:
            config = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=TARGETS[part])
            inject_adapter_in_model(config, self.nets[part])
        for name, values in self.factors():
            values.data.copy_(start(name, values.shape, case.zero))
        groups = [
            {"params": [one for one in self.nets[part].parameters() if one.requires_grad], "lr": RATES[part]}
            for part in case.networks
        ]
        counts = [len(group["params"]) for group in groups]
        assert counts == [96, 36][: len(counts)] and sum(counts) == len(list(self.factors())), counts
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.optimiser, case.rate)
        config = scheduler_config() | {"prediction_type": "v_prediction" if case.velocity else "epsilon"}
        self.noise_schedule = DDPMScheduler.from_config(config)

    def factors(self):
        """The factors under the names of kohya's files."""
        for part in self.case.networks:
            for path, layer in self.nets[part].named_modules():
                if hasattr(layer, "lora_A"):
                    name = PREFIXES[part] + path.removeprefix("text_model.").replace(".", "_")
                    assert layer.scaling["default"] == ALPHA / RANK
                    yield f"{name}.lora_down.weight", layer.lora_A["default"].weight
                    yield f"{name}.lora_up.weight", layer.lora_B["default"].weight

    def run(self):
        """Takes all steps."""
        case, results = self.case, {"losses": [], "norms": [], "rates": []}
        batch = len(case.captions)
        for step in range(STEPS):
            losses = []
            for micro_batch in range(case.micro_batches):
                at = (step * case.micro_batches + micro_batch) * batch
                losses.append(self.loss(slice(at, at + batch)))
                (losses[-1] / case.micro_batches).backward()
            if step == 0:
                results |= {f"gradient.{name}": values.grad.clone() for name, values in self.factors()}
            every = [values for _, values in self.factors()]
            results["norms"].append(torch.nn.utils.clip_grad_norm_(every, 1.0))
            results["losses"].append(torch.stack(losses))
            # The rate of the text encoder is kept where it is frozen, too.
            results["rates"].append(torch.tensor([rate * case.rate(step) for rate in RATES.values()]))
            for group, rate in zip(self.optimiser.param_groups, results["rates"][-1]):
                assert abs(group["lr"] - rate) < 1e-9
            self.optimiser.step()
            self.optimiser.zero_grad()
            self.rates.step()
        results |= {f"trained.{name}": values for name, values in self.factors()}
        lists = {name: torch.stack(values) for name, values in results.items() if isinstance(values, list)}
        return {name: values.detach() for name, values in (results | lists).items()}

    def loss(self, rows):
        """The loss of one micro-batch."""
        case, given = self.case, self.case.rows
        latents, noise, offset = (given[name][rows].to(self.kind) for name in ("latents", "noise", "offset"))
        noise = noise + case.offset * offset[:, :, None, None]
        timesteps = given["timesteps"][rows]
        noisy = self.noise_schedule.add_noise(latents, noise, timesteps)
        text = self.nets["text_encoder"](given["tokens"]).last_hidden_state
        predicted = self.nets["unet"](noisy, timesteps, text).sample
        wanted = self.noise_schedule.get_velocity(latents, noise, timesteps) if case.velocity else noise
        losses = (predicted - wanted).square().mean(dim=(1, 2, 3))
        if case.gamma:
            snr = compute_snr(self.noise_schedule, timesteps)
            least = snr.clamp(max=case.gamma)
            losses = losses * (least / (snr + 1) if case.velocity else least / snr)
        return losses.mean()


def start(name, shape, zero):
    """A factor at the beginning."""
    random = generator(f"training/start/{name}")
    if ".lora_down." in name:
        bound = 1 / np.sqrt(np.prod(shape[1:]))
        values = random.uniform(-bound, bound, shape)
    else:
        values = random.standard_normal(shape) * (0.0 if zero else UP)
    return torch.from_numpy(values.astype(np.float32))


def say(case, results, exact):
    """Prints what a case gave, and how far it is from the same with 64-bit floats."""
    losses, norms = results["losses"].mean(dim=1).tolist(), results["norms"].tolist()
    print(f"{case.name}\n  losses {' '.join(f'{loss:.4f}' for loss in losses)}")
    print(f"  norms  {' '.join(f'{norm:.4f}' for norm in norms)}")
    apart = {}
    for name, values in results.items():
        kind = name.partition(".")[0]
        largest = exact[name].abs().max()
        if largest > 0:
            share = ((values - exact[name]).abs().max() / largest).item()
            apart[kind] = max(apart.get(kind, 0.0), share)
    print("  apart  " + ", ".join(f"{kind} {share:.1e}" for kind, share in apart.items()))


if __name__ == "__main__":
    main()
