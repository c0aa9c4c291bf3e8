"""What every training script of the forge shares: the work folder, checkpoints that survive a kill,
averaged weights, a line of progress now and then, and the usual arguments.

Promises: a checkpoint file is always whole (it is written beside and then renamed), and a script
that is started again with the same arguments goes on where the checkpoint was made.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

# Seconds between two lines of progress, and between two checkpoints.
LINE_EVERY = 30
SAVE_EVERY = 120


def work(*parts):
    """A path in the work folder, whose folder is made."""
    root = Path(os.environ.get("FORGE_WORK", "/tmp/photog-forge"))
    path = root.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def arguments(description, steps, batch):
    """The arguments of all training scripts; more may be added before `parse_args`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="length of the whole training")
    parser.add_argument("--minutes", type=float, default=None, help="stop this run after so long")
    parser.add_argument("--batch", type=int, default=batch, help="pictures of a step")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--fresh", action="store_true", help="forget the checkpoint")
    parser.add_argument("--export", metavar="DIR", help="write the network there, do not train")
    return parser


def device():
    """Where networks are trained: on a GPU where torch sees one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def here(array):
    """An array as a tensor on that device."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device())


def is_quick_in_halves():
    """Whether the device multiplies numbers of 16 bits itself; a CPU that does not needs ten times as long."""
    return device().type != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def halved():
    """Lets networks compute in 16 bits where that is harmless and quick."""
    return torch.autocast(device().type, torch.bfloat16, enabled=is_quick_in_halves())


def prepare(threads, seed=20):
    """Fixes all random numbers and the number of threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    np.random.seed(seed)
    # The augmentations run inside of the training process, one thread each.
    import cv2

    cv2.setNumThreads(1)


def save(path, state):
    """Writes a checkpoint whole or not at all."""
    beside = Path(f"{path}.part")
    torch.save(state, beside)
    os.replace(beside, path)


def load(path):
    """The checkpoint at `path`, or None."""
    if not Path(path).exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=False)


def snapshot(step, **parts):
    """What a checkpoint keeps of a training: the step, and each part under its name."""
    return {"step": step} | {name: part.state_dict() for name, part in parts.items()}


def restored(saved, **parts):
    """Gives each part what a checkpoint of `snapshot` kept of it, and says at which step that was: 0 where
    there is no checkpoint, and then nothing is changed."""
    if not saved:
        return 0
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["step"]


def set_rate(optimiser, rate):
    """Sets the learning rate of all weights."""
    for group in optimiser.param_groups:
        group["lr"] = rate


class Ema:
    """A copy of a network whose weights are running means of the trained ones.

    In the first steps the mean is over few, so that the random start is soon forgotten.
    """

    def __init__(self, net, decay):
        self.decay = decay
        self.steps = 0
        self.state = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net):
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in net.state_dict().items():
            mean = self.state[name]
            if mean.dtype.is_floating_point:
                mean.lerp_(value.to(mean.dtype), 1 - decay)
            else:
                mean.copy_(value)

    def state_dict(self):
        return {"steps": self.steps, "state": self.state}

    def load_state_dict(self, saved):
        self.steps = saved["steps"]
        for name, value in saved["state"].items():
            self.state[name].copy_(value)


class Progress:
    """Prints means of what it is told about every half minute, here and to a file of the work folder,
    and says when to save and when this run's time is over."""

    def __init__(self, name, step, steps, minutes):
        self.file = work("logs", f"{name}.log")
        self.step, self.steps = step, steps
        now = time.monotonic()
        self.end = now + minutes * 60 if minutes else float("inf")
        self.lined = self.saved = now
        self.sums, self.count, self.samples = {}, 0, 0

    def say(self, text):
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with self.file.open("a") as file:
            file.write(line + "\n")

    def tell(self, samples, **values):
        """One step is done, with these losses."""
        self.step += 1
        self.samples += samples
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        now = time.monotonic()
        if now - self.lined >= LINE_EVERY or self.step == self.steps:
            means = " ".join(f"{name} {total / self.count:.4f}" for name, total in self.sums.items())
            rate = self.samples / max(now - self.lined, 1e-9)
            self.say(f"step {self.step}/{self.steps} {means} {rate:.1f} samples/s")
            self.lined, self.sums, self.count, self.samples = now, {}, 0, 0

    @property
    def is_over(self):
        return self.step >= self.steps or time.monotonic() >= self.end

    def is_time_to_save(self):
        """True every few minutes and at the end of the run."""
        now = time.monotonic()
        if now - self.saved < SAVE_EVERY and not self.is_over:
            return False
        self.saved = now
        return True


def cosine_rate(step, steps, warm=200):
    """Share of the highest learning rate: rises over `warm` steps, then falls as a cosine."""
    rise = min(1.0, (step + 1) / warm)
    return rise * (0.5 + 0.5 * np.cos(np.pi * min(step / max(steps, 1), 1.0))) + 1e-3
