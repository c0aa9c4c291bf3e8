"""From noise to latents: the noise schedule of Stable Diffusion 1.x, and two samplers, for previews."""

import torch

STEPS = 1000
BETAS = 0.00085, 0.012


def kept():
    """Share of the picture's variance that is left after each training step (SD's scaled linear schedule)."""
    first, last = (beta**0.5 for beta in BETAS)
    return torch.cumprod(1 - torch.linspace(first, last, STEPS, dtype=torch.float64).square(), 0)


def guided(unet, latents, step, words, nothing, scale):
    """The noise that the UNet sees, pushed away from what it sees where nothing is asked."""
    both = torch.cat([latents, latents])
    seen = unet(both, torch.full((len(both),), float(step)), torch.cat([words, nothing])).sample
    asked, empty = seen.float().chunk(2)
    return empty + scale * (asked - empty)


def ddim(unet, noise, words, nothing, scale=4.0, count=20):
    """DDIM without new noise."""
    share = kept()
    steps = [1 + index * (STEPS // count) for index in reversed(range(count))]
    latents = noise
    for index, step in enumerate(steps):
        now = share[step]
        then = share[steps[index + 1]] if index + 1 < count else share[0]
        seen = guided(unet, latents, step, words, nothing, scale)
        clean = (latents - (1 - now).sqrt().float() * seen) / now.sqrt().float()
        latents = then.sqrt().float() * clean + (1 - then).sqrt().float() * seen
    return latents


def dpm(unet, noise, words, nothing, scale=4.0, count=20, rho=7.0):
    """DPM++ 2M on Karras' noise levels: two steps are one line in the logarithm of the noise."""
    share = kept()
    levels = ((1 - share) / share).sqrt()
    low, high = levels[0] ** (1 / rho), levels[-1] ** (1 / rho)
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    sigmas = torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)])
    steps = torch.arange(STEPS, dtype=torch.float64)
    latents, before, last = noise * float(sigmas[0]), None, None
    for now, then in zip(sigmas[:-1], sigmas[1:], strict=True):
        # The training step whose noise this is, between two of them.
        at = int(torch.searchsorted(levels, now).clamp(1, STEPS - 1))
        part = (now.log() - levels[at - 1].log()) / (levels[at].log() - levels[at - 1].log())
        step = steps[at - 1] + part.clamp(0, 1)
        seen = guided(unet, latents / float((1 + now**2).sqrt()), step, words, nothing, scale)
        clean = latents - float(now) * seen
        if then == 0:
            return clean
        width = float(now.log() - then.log())
        line = clean if before is None else clean + (clean - before) * (width / (2 * last))
        latents = float(then / now) * latents + (1 - float(then / now)) * line
        before, last = clean, width
    return latents


SAMPLERS = {"ddim": ddim, "dpm": dpm}
