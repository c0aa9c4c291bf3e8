"""Holds an exported network against torch."""

import numpy as np
import onnxruntime
import torch


def compared(path, reference, names, shapes, high, bound=0.02):
    """Runs the file and `reference` on the same random pictures of 0 to `high` (or -high to high where
    it is 1) and prints the largest difference of each output; a large one is an error. Weights
    of 16 bits explain differences of a few thousandths."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(3)
    worst = 0.0
    for shape in shapes:
        # Clouds rather than noise: what networks are used to.
        coarse = torch.from_numpy(rng.random((*shape[:2], shape[2] // 16, shape[3] // 16), np.float32))
        x = torch.nn.functional.interpolate(coarse, shape[2:], mode="bilinear")
        x = x * 255 if high > 1 else x * 2 - 1
        with torch.no_grad():
            expected = reference(x)
        given = session.run(names, {"input": x.numpy()})
        for wanted, got in zip(expected, given, strict=True):
            if wanted.shape != got.shape:
                raise SystemExit(f"shapes differ: {tuple(wanted.shape)} and {got.shape}")
            difference = float(np.abs(wanted.numpy() - got).max() / max(wanted.abs().max().item(), 1.0))
            worst = max(worst, difference)
    print(f"{path}: {path.stat().st_size} bytes, largest relative difference to torch {worst:.6f}")
    if worst > bound:
        raise SystemExit("the file is not what was trained")
