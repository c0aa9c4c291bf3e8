"""What k-diffusion and diffusers make of a small network that is only a formula: `fixtures/sampling.safetensors`.

All is computed in 64-bit floats and from one bank of noise, draw after draw, so that the plans of photog can be
held against it number by number. What neither library has (spacings and rules of the WebUI) is written here from
its formula. Samples are stored in 32-bit floats, which is enough for a comparison at 1e-6.

Tensors:
  noise, latent            the bank of noise and the picture that runs start from
  sigmas/<grid>/<spacing>  the levels for each of STEPS, one after the other
  final/<method>           [spacing, steps, strength, values]: the last sample of every combination
  path/<case>              [evaluations + 1, values]: all samples of a run, variance exploding
  draws/<case>             [draws, pictures, channels, height, width]: noise of a batch by the WebUI's rules
"""

import importlib.util
import json
import math
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import scipy.stats
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)

FIXTURE = Path(__file__).resolve().parent / "fixtures" / "sampling.safetensors"
VALUES = 16
STEPS = [1, 2, 7, 20]
STRENGTHS = [None, 0.45]
SPACINGS = [
    "uniform", "karras", "exponential", "polyexponential", "sgm_uniform", "simple", "normal", "ddim", "beta",
]  # fmt: skip


def import_k_diffusion():
    """Its samplers without the rest of the package, which needs much that has nothing to do with sampling."""
    spec = importlib.util.find_spec("k_diffusion")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["k_diffusion"] = package
    for name in ["torchvision", "torchvision.transforms", "torchsde", "torchdiffeq"]:
        sys.modules.setdefault(name, mock.MagicMock())
    import k_diffusion.external
    import k_diffusion.sampling

    return k_diffusion


torch.set_default_dtype(torch.float64)
kd = import_k_diffusion()

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
ABAR = torch.cumprod(1 - BETAS, 0)
RANDOM = np.random.default_rng(20)
NOISE = torch.tensor(RANDOM.standard_normal((40, VALUES)).astype(np.float32), dtype=torch.float64)
LATENT = torch.tensor(RANDOM.standard_normal(VALUES).astype(np.float32), dtype=torch.float64)


def network(x, t):
    """The network: a formula that knows its input, its time step and the place of a value."""
    t = float(torch.as_tensor(t).reshape(-1)[0])
    place = torch.arange(VALUES) / VALUES
    bent = torch.tanh(x * (0.6 + 0.4 * math.sin(t / 170)) + 0.3 * place)
    return 0.9 * bent + 0.2 * math.cos(t / 90) * torch.roll(x, -1, -1)


class Bank:
    """Noise draw by draw, in the shapes that the libraries ask for it."""

    def __init__(self):
        self.count = 0

    def draw(self, *_args, **_keywords):
        self.count += 1
        return NOISE[self.count - 1][None]


class Torch:
    """The module torch for k-diffusion, with the noise of a bank."""

    def __init__(self, bank):
        self.bank = bank

    def __getattr__(self, name):
        return self.bank.draw if name == "randn_like" else getattr(torch, name)


class Consistency(kd.external.DiscreteEpsDDPMDenoiser):
    """A network of latent consistency: fifty levels, the nearest is asked, and a boundary condition."""

    def __init__(self):
        super().__init__(network, ABAR[19::20], quantize=None)

    def sigma_to_t(self, sigma, quantize=None):
        return super().sigma_to_t(sigma, quantize=True) * 20 + 19

    def t_to_sigma(self, t):
        return super().t_to_sigma(((t - 19) / 20).clamp(0, 49))

    def forward(self, x, sigma):
        denoised = super().forward(x, sigma)
        t = self.sigma_to_t(sigma)[:, None] * 10.0
        return denoised * t / (t**2 + 0.25).sqrt() + x * 0.25 / (t**2 + 0.25)


PLAIN = kd.external.DiscreteEpsDDPMDenoiser(network, ABAR, quantize=False)
VELOCITY = kd.external.DiscreteVDDPMDenoiser(network, ABAR, quantize=False)
CONSISTENCY = Consistency()


def spaced(model, spacing, n):
    """The levels of a spacing, falling, and a zero."""
    low, high = float(model.sigma_min), float(model.sigma_max)
    count = len(model.sigmas)
    sampling = kd.sampling
    if spacing == "karras":
        return sampling.get_sigmas_karras(n, low, high)
    if spacing == "exponential":
        return sampling.get_sigmas_exponential(n, low, high)
    if spacing == "polyexponential":
        return sampling.get_sigmas_polyexponential(n, low, high, rho=1.0)
    if spacing == "uniform" and model is not CONSISTENCY:
        return model.get_sigmas(n)
    first, last = (
        float(model.sigma_to_t(sigma[None])[0]) for sigma in (model.sigma_max, model.sigma_min)
    )
    if spacing in ("uniform", "normal"):
        return sampling.append_zero(model.t_to_sigma(torch.linspace(first, last, n)))
    if spacing == "sgm_uniform":
        return sampling.append_zero(model.t_to_sigma(torch.linspace(first, last, n + 1)[:-1]))
    if spacing == "simple":
        levels = [count - 1 - int(step * (count / n)) for step in range(n)]
    elif spacing == "ddim":
        levels = list(range(1, count, max(count // n, 1)))[::-1]
    elif spacing == "beta":
        shares = [scipy.stats.beta.ppf(1 - share, 0.6, 0.6) for share in np.linspace(0, 1, n)]
        return sampling.append_zero(torch.tensor([low + share * (high - low) for share in shares]))
    return sampling.append_zero(model.sigmas[levels])


def part(sigmas, steps, strength):
    """The levels that are run when a picture is given."""
    if strength is None:
        return sigmas
    after = int(min(strength, 0.999) * steps)
    return sigmas[min(steps - after - 1, len(sigmas) - 2) :]


def run_k(method, model, sigmas, strength=None, **options):
    """All samples of a run of k-diffusion."""
    bank = Bank()
    x = sigmas[0] * bank.draw() + (0 if strength is None else LATENT)
    path = []
    options.update(callback=lambda state: path.append(state["x"].clone()), disable=True)
    if method not in ("euler", "dpmpp_2m", "lcm"):
        options["noise_sampler"] = bank.draw
    if method == "lcm":
        for sigma, after in zip(sigmas, sigmas[1:]):
            path.append(x)
            x = model(x, sigma[None])
            x = x + after * bank.draw() if after > 0 else x
        end = x
    elif method == "dpmpp_2m_sde" and len(sigmas) == 2:
        # k-diffusion fails when there is one step, whose result is the denoised picture.
        path, end = [x], model(x, sigmas[:1])
    else:
        with mock.patch.object(kd.sampling, "torch", Torch(bank)):
            end = getattr(kd.sampling, f"sample_{method}")(model, x, sigmas, **options)
        # The state of Euler with churn is that after the noise; photog's is told before it.
    return torch.cat([*path, end])


def alpha(sigma):
    return 1 / math.sqrt(sigma**2 + 1)


def run_d(scheduler, sigmas, timesteps, x, bank=None, **options):
    """All samples of a run of diffusers that begins with `x`, all variance exploding."""
    path = [x]
    for index, t in enumerate(timesteps):
        kept = alpha(float(sigmas[index]))
        if bank is not None:
            options["variance_noise"] = bank.draw()
        preserved = path[-1] * kept
        stepped = scheduler.step(network(preserved, t), t, preserved, **options)
        path.append(stepped.prev_sample / alpha(float(sigmas[index + 1])))
    return torch.cat(path)


def by_sigmas(kind, sigmas, timesteps, **config):
    """A multistep scheduler of diffusers that goes through these levels."""
    scheduler = kind(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, **config)
    scheduler.set_timesteps(len(timesteps))
    scheduler.sigmas = torch.as_tensor(sigmas)
    scheduler.timesteps = torch.as_tensor(timesteps)
    scheduler.num_inference_steps = len(timesteps)
    scheduler.set_begin_index(0)
    return scheduler


def check(path, other, tolerance):
    error = float((path - other).abs().max() / other.abs().max())
    assert error < tolerance, error


def spacings(tensors):
    for name, model in [("all", PLAIN), ("consistency", CONSISTENCY)]:
        for spacing in SPACINGS:
            sigmas = [spaced(model, spacing, steps) for steps in [*STEPS, 30]]
            tensors[f"sigmas/{name}/{spacing}"] = torch.cat(sigmas)


def finals(tensors):
    for method in ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "lcm"]:
        model = CONSISTENCY if method == "lcm" else PLAIN
        ends = [
            run_k(method, model, part(spaced(model, spacing, steps), steps, strength), strength)[-1]
            for spacing in SPACINGS
            for steps in STEPS
            for strength in STRENGTHS
        ]
        shape = len(SPACINGS), len(STEPS), len(STRENGTHS), VALUES
        tensors[f"final/{method}"] = torch.stack(ends).reshape(shape).float()


def paths_of_k_diffusion(tensors):
    karras = spaced(PLAIN, "karras", 12)
    for method in ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde"]:
        tensors[f"path/{method}"] = run_k(method, PLAIN, karras)
    tensors["path/lcm"] = run_k("lcm", CONSISTENCY, spaced(CONSISTENCY, "uniform", 6))
    churn = dict(s_churn=5.0, s_tmin=0.1, s_tmax=10.0, s_noise=1.1)
    # The callback of Euler is called after the churn, so only the end is told.
    tensors["path/euler_churn"] = run_k("euler", PLAIN, karras, **churn)[-1:]
    tensors["path/euler_ancestral_eta"] = run_k("euler_ancestral", PLAIN, karras, eta=0.4)
    tensors["path/dpmpp_2m_sde_eta"] = run_k("dpmpp_2m_sde", PLAIN, karras, eta=0.6, s_noise=0.9)
    tensors["path/velocity"] = run_k("dpmpp_2m", VELOCITY, karras)
    late = part(spaced(PLAIN, "exponential", 20), 20, 0.75)
    tensors["path/from_picture"] = run_k("dpmpp_2m_sde", PLAIN, late, 0.75)

    # The solvers of diffusers at the same levels give the same.
    timesteps = [PLAIN.sigma_to_t(sigma[None])[0] for sigma in karras[:-1]]
    start = karras[0] * NOISE[:1]
    config = dict(solver_order=2, final_sigmas_type="zero")
    scheduler = by_sigmas(DPMSolverMultistepScheduler, karras, timesteps, **config)
    check(run_d(scheduler, karras, timesteps, start), tensors["path/dpmpp_2m"], 1e-6)
    config["algorithm_type"] = "sde-dpmsolver++"
    scheduler = by_sigmas(DPMSolverMultistepScheduler, karras, timesteps, **config)
    bank = Bank()
    bank.draw()
    check(run_d(scheduler, karras, timesteps, start, bank), tensors["path/dpmpp_2m_sde"], 1e-6)


def ddim_scheduler(steps):
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
        set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading",
    )  # fmt: skip
    scheduler.alphas_cumprod = ABAR
    scheduler.final_alpha_cumprod = ABAR[0]
    scheduler.set_timesteps(steps)
    return scheduler


def run_ddim(tensors, name, steps, timesteps, end, noised_at=None, eta=0.0):
    """DDIM at these falling time steps. From a picture, it has the noise of another one, as in the WebUI."""
    sigmas = [float(PLAIN.sigmas[t]) for t in [*timesteps, end]]
    bank = Bank()
    noise, kept = bank.draw(), alpha(sigmas[0])
    if noised_at is None:
        x = noise / kept
    else:
        x = (ABAR[noised_at].sqrt() * LATENT + (1 - ABAR[noised_at]).sqrt() * noise) / kept
    scheduler = ddim_scheduler(steps)
    bank = bank if eta > 0 else None
    tensors[f"path/{name}"] = run_d(scheduler, sigmas, timesteps, x, bank, eta=eta)


def paths_of_ddim(tensors):
    whole = [int(t) for t in ddim_scheduler(20).timesteps]
    run_ddim(tensors, "ddim_diffusers", 20, whole, 0)
    run_ddim(tensors, "ddim_diffusers_eta", 20, whole, 0, eta=1.0)
    for steps in [20, 30]:
        # The WebUI does not ask at the lowest time step.
        timesteps = np.clip(np.arange(0, 1000, 1000 // steps) + 1, 0, 999)
        rest = [int(t) for t in timesteps[:0:-1]]
        run_ddim(
            tensors,
            f"ddim_{steps}",
            steps,
            rest,
            int(timesteps[0]),
            eta=0.7 if steps == 30 else 0.0,
        )
        count = int(min(0.75, 0.999) * steps)
        rest = [int(t) for t in timesteps[:count][:0:-1]]
        run_ddim(
            tensors, f"ddim_{steps}_picture", steps, rest, int(timesteps[0]), int(timesteps[count])
        )


def run_unipc(tensors, name, sigmas, timesteps, x, **config):
    scheduler = by_sigmas(UniPCMultistepScheduler, sigmas, timesteps, **config)
    tensors[f"path/{name}"] = run_d(scheduler, sigmas, timesteps, x)


def paths_of_unipc(tensors):
    log_alphas = np.log(ABAR.numpy()) / 2

    def places(first, steps):
        """Evenly through time, where the WebUI's UniPC has the logarithm of alpha linear."""
        timesteps = np.linspace(first, 0, steps + 1)
        kept = np.exp(np.interp(timesteps, np.arange(1000), log_alphas))
        return torch.tensor(np.sqrt(1 - kept**2) / kept), torch.tensor(timesteps[:-1])

    orders = [
        ("unipc", 10, 3, "bh1", True),
        ("unipc_bh2", 10, 2, "bh2", True),
        ("unipc_flat", 10, 3, "bh1", False),
    ]
    orders += [("unipc_one", 10, 1, "bh1", True), ("unipc_short", 2, 3, "bh1", True)]
    for name, steps, order, variant, final in orders:
        sigmas, timesteps = places(999, steps)
        x = NOISE[:1] / alpha(float(sigmas[0]))
        config = dict(solver_order=order, solver_type=variant, lower_order_final=final)
        run_unipc(tensors, name, sigmas, timesteps, x, **config)
    # From a picture: 20 steps by 0.45 are 9, from the ninth time step, with the noise of the tenth.
    sigmas, timesteps = places(401, 9)
    x = (ABAR[451].sqrt() * LATENT + (1 - ABAR[451]).sqrt() * NOISE[:1]) / alpha(float(sigmas[0]))
    run_unipc(tensors, "unipc_picture", sigmas, timesteps, x, solver_order=3, solver_type="bh1")

    # As diffusers has it by itself. With bh1 it cannot end at zero: it multiplies infinity by zero there.
    cases = [
        ("linspace", 2, "bh2", "zero", 0.0),
        ("trailing", 3, "bh1", "sigma_min", float(PLAIN.sigma_min)),
    ]
    for spacing, order, variant, end, last in cases:
        config = dict(
            solver_order=order, solver_type=variant, timestep_spacing=spacing, final_sigmas_type=end
        )
        scheduler = UniPCMultistepScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, **config
        )
        scheduler.set_timesteps(12)
        timesteps = scheduler.timesteps
        sigmas = torch.tensor([*(float(PLAIN.sigmas[t]) for t in timesteps), last])
        check(scheduler.sigmas, sigmas, 1e-6)
        tensors[f"timesteps/unipc_{spacing}"] = timesteps.double()
        x = NOISE[:1] / alpha(float(sigmas[0]))
        run_unipc(tensors, f"unipc_{spacing}", sigmas, timesteps, x, **config)


def path_of_lcm(tensors):
    """LCM of diffusers, whose boundary condition is on another form of the sample: the same within 1e-5."""
    scheduler = LCMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
    )
    scheduler.alphas_cumprod = ABAR
    scheduler.set_timesteps(4)
    timesteps = [int(t) for t in scheduler.timesteps]
    sigmas = [*(float(PLAIN.sigmas[t]) for t in timesteps), 0.0]
    bank = Bank()
    path = [sigmas[0] * bank.draw()]
    for index, t in enumerate(timesteps):
        kept = path[-1] * alpha(sigmas[index])
        with mock.patch("diffusers.schedulers.scheduling_lcm.randn_tensor", bank.draw):
            step = scheduler.step(network(kept, t), t, kept)
        path.append(step.prev_sample / alpha(sigmas[index + 1]))
    tensors["path/lcm_diffusers"] = torch.cat(path)


class Philox:
    """The generator of CUDA's `torch.randn`, on arrays."""

    def __init__(self, seed):
        self.key = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF]
        self.draws = 0

    def normal(self, shape):
        count = math.prod(shape)
        c = [np.full(count, word, np.uint64) for word in (self.draws, 0, 0, 0)]
        c[2] = np.arange(count, dtype=np.uint64)
        self.draws += 1
        k, low = self.key, np.uint64(0xFFFFFFFF)
        for _ in range(10):
            a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
            c = [
                (b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]),
                b & low,
                (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]),
                a & low,
            ]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        scale, turn = np.float32(2.3283064e-10), np.float32(2.3283064e-10 * 6.2831855)
        u = c[0].astype(np.float64) * np.float64(scale) + np.float64(scale) / 2
        v = c[1].astype(np.float64) * np.float64(turn) + np.float64(turn) / 2
        return torch.tensor((np.sqrt(-2 * np.log(u)) * np.sin(v)).astype(np.float32).reshape(shape))


def mixed(share, low, high):
    """Along the arc between two noises, as the WebUI has it: over the second axis."""
    cosine = ((low / low.norm(dim=1, keepdim=True)) * (high / high.norm(dim=1, keepdim=True))).sum(
        1
    )
    assert cosine.mean() < 0.9995
    angle = cosine.acos()
    weights = ((1 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin()
    return weights[0].unsqueeze(1) * low + weights[1].unsqueeze(1) * high


def draws(tensors):
    shape, seeds = (4, 6, 5), [-3, 2**40 + 7]

    def batch(name, draws, first, later=None):
        generators = [Philox(seed) for seed in seeds]
        for generator in generators:
            # The first draw of each is made, whatever becomes of it.
            generator.normal(shape)
        picture = [first(seed) for seed in seeds]
        all_draws = [torch.stack(picture)]
        generators = generators if later is None else [Philox(seed + later) for seed in seeds]
        all_draws += [
            torch.stack([one.normal(shape) for one in generators]) for _ in range(draws - 1)
        ]
        tensors[f"draws/{name}"] = torch.stack(all_draws).float()

    def resized(seed):
        noise, ground = Philox(seed).normal((4, 3, 8)), Philox(seed).normal(shape)
        # Height 3 of 6: one below the top. Width 8 of 5: two are left out on each side.
        ground[:, 1:4, 0:4] = noise[:, :, 2:6]
        return ground

    def varied(seed):
        other = Philox(100 + seeds.index(seed)).normal(shape)
        return mixed(0.3, Philox(seed).normal(shape).double(), other.double()).float()

    batch("plain", 3, lambda seed: Philox(seed).normal(shape))
    batch("delta", 2, lambda seed: Philox(seed).normal(shape), later=31337)
    batch("resized", 2, resized)
    batch("varied", 2, varied)
    known = Philox(0).normal((2, 4)).flatten().numpy()
    expected = [
        -0.92466259,
        -0.42534415,
        -2.6438457,
        0.14518388,
        -0.12086647,
        -0.57972564,
        -0.62285122,
        -0.32838709,
    ]
    assert np.allclose(known, expected, atol=1e-7)


def safetensors(tensors, metadata):
    """A safetensors file whose bytes depend on nothing but its contents."""
    kinds = {np.dtype(np.float64): "F64", np.dtype(np.float32): "F32"}
    arrays = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in tensors.items()}
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header, end = {"__metadata__": metadata}, 0
    for name in names:
        array, start = arrays[name], end
        end += array.nbytes
        header[name] = {
            "dtype": kinds[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return (
        len(text).to_bytes(8, "little") + text + b"".join(arrays[name].tobytes() for name in names)
    )


def main():
    tensors = {"noise": NOISE.float(), "latent": LATENT.float()}
    cases = [
        spacings,
        finals,
        paths_of_k_diffusion,
        paths_of_ddim,
        paths_of_unipc,
        path_of_lcm,
        draws,
    ]
    for case in cases:
        case(tensors)
    for name in tensors:
        assert tensors[name].isfinite().all(), name
        if name.startswith("path/"):
            tensors[name] = tensors[name].float()
    metadata = {"made_by": "tests/reference/sampling.py"}
    FIXTURE.write_bytes(safetensors(tensors, metadata))


main()
