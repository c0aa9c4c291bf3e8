"""Hair in three layers: behind head and shoulders, on the skull, and locks beside the face."""

from dataclasses import dataclass

import numpy as np

from . import noise, shapes
from .canvas import Patch, coverage, lit, smooth
from .form import Form

# Around the head from the nose (0) to the back (pi): where hair begins, as y in head coordinates.
AROUND = np.array([0.0, 0.45, 0.8, 1.05, 1.25, 1.45, 1.8, 3.2])
SHORT_EDGE = np.array([-0.64, -0.63, -0.52, -0.30, 0.02, 0.16, 0.34, 0.62])
LONG_EDGE = np.array([-0.64, -0.62, -0.48, -0.16, 0.14, 0.30, 0.42, 0.50])


@dataclass(frozen=True)
class Style:
    """How a style grows. Thickness is a part of the head's radius."""

    top: float  # thickness above
    sides: float
    edge: np.ndarray  # where it begins, over `AROUND`
    fringe: float = 0.0  # how far it hangs into the forehead
    swept: float = 0.0  # how much the edge slants to one side
    bumps: float = 0.0  # height of bumps of the outline
    bump_count: float = 9.0
    spikes: float = 0.0
    falls: float = 0.0  # how far down it falls behind the shoulders; 0 for not
    width: float = 0.86  # half width of what falls
    waves: float = 0.0
    locks: bool = False  # whether it also falls before the shoulders
    opacity: float = 1.0


STYLES = {
    "shaved": Style(0.015, 0.010, SHORT_EDGE, opacity=0.62),
    "short": Style(0.085, 0.045, SHORT_EDGE),
    "side-parted": Style(0.150, 0.055, SHORT_EDGE, swept=0.26),
    "spiky": Style(0.130, 0.040, SHORT_EDGE, spikes=0.17),
    "curly": Style(0.240, 0.170, SHORT_EDGE + np.linspace(0.06, 0.0, 8), bumps=0.055, bump_count=13),
    "bob": Style(0.110, 0.130, LONG_EDGE, fringe=0.0, swept=0.15, falls=0.86, width=0.93),
    "fringed": Style(0.110, 0.110, LONG_EDGE, fringe=0.36, falls=1.25, width=0.88),
    "long straight": Style(0.095, 0.100, LONG_EDGE, falls=1.95, width=0.90, locks=True),
    "long wavy": Style(0.130, 0.150, LONG_EDGE, falls=1.95, width=1.04, waves=0.075, locks=True),
    "tied-up": Style(0.075, 0.040, SHORT_EDGE),
}


class Hair:
    """The hair of a sitter, ready to be drawn layer by layer."""

    def __init__(self, sitter, pose, light):
        self.person, self.pose, self.light = sitter.person, pose, light
        self.style = STYLES.get(sitter.person.hair)
        self.seed = sitter.person.seed % 99991
        self.colour = np.array(sitter.person.hair_colour) * light.tint

    def draw_behind(self, canvas):
        """What hangs behind neck and shoulders, or is tied up above."""
        style, person = self.style, self.person
        if style is None:
            return
        if person.hair == "tied-up":
            centre = self.pose.project(np.array([0.0, -1.16 - 0.05 * person.hair_volume, -0.15]))
            patch = Patch(canvas, centre, self.pose.upright_axes(), (0.5, 0.5))
            if patch:
                knot = shapes.circle(patch.a, patch.b, 0.26 * person.hair_volume**0.5)
                bright = 0.80 + 0.22 * noise.wave(np.arctan2(patch.b, patch.a) * 6 + patch.a * 9, self.seed)
                patch.window.blend(lit(self.colour, bright), coverage(knot, patch.step))
        if style.falls:
            self.fall(canvas, 0.74, behind=True)

    def draw_cap(self, canvas):
        """What lies on the skull."""
        style, person, pose = self.style, self.person, self.pose
        if style is None:
            return
        grown = person.hair_volume
        reach = 1.02 + (style.top + style.bumps + style.spikes) * grown * 1.35
        patch = Patch(canvas, pose.centre, pose.upright_axes(), (reach, reach * 1.05))
        if not patch:
            return
        places = Form(person, pose, lambda angle: self.thickness(angle, grown)).locate(patch.a, patch.b)
        edge = np.interp(np.abs(places.azimuth), AROUND, style.edge).astype(np.float32)
        front = np.exp(-((places.azimuth / 0.75) ** 2))
        edge = edge - person.hairline * front * (0 if style.fringe else 1)
        if style.fringe:
            strands = noise.wave(places.azimuth * 9, self.seed + 1) * 0.05
            edge = edge + style.fringe * np.exp(-((places.azimuth / 0.9) ** 4)) + strands * front
        if style.swept:
            slant = np.clip(places.x * person.parting * 1.4 + 0.35, -0.2, 1.0)
            edge = edge + style.swept * slant * front - 0.06 * front
        edge = edge + 0.025 * noise.wave(places.azimuth * 14, self.seed + 2)
        inside = coverage(places.distance, patch.step)
        above = smooth(edge - places.y, -0.015, 0.015 if style.opacity == 1 else 0.12)
        # The hair throws a shadow on the skin below its edge.
        if style.opacity == 1:
            below = np.clip((places.y - edge) / 0.14, 0, 1)
            patch.window.shade((0.74, 0.68, 0.66), inside * (1 - above) * (1 - smooth(below, 0, 1)) * 0.7)
        part = person.parting * 0.3
        ray = np.arctan2(places.x - part, places.y + 1.35)
        streak = noise.wave(ray * 15, self.seed + 3)
        if style.bumps:
            streak = noise.field(places.azimuth * 5, places.y * 6, self.seed, octaves=2) * 1.5
        bright = self.light.on(places.nx, places.ny, places.nz, wrap=0.5) * (0.90 + 0.17 * streak)
        gloss = np.exp(-(((places.y + 0.86) / 0.12) ** 2)) * (places.nz > 0) * (0.6 + 0.4 * streak)
        shown = lit(self.colour, bright)
        glossy = np.minimum(self.colour * 1.5 + 0.10, 1.1).astype(np.float32)[:, None, None]
        shown = shown + (glossy - shown) * (0.40 * np.clip(gloss, 0, 1))
        patch.window.blend(np.clip(shown, 0, 1), inside * above * style.opacity)

    def draw_locks(self, canvas):
        """What falls beside the face; drawn after the head."""
        style = self.style
        if style is None or not style.falls:
            return
        self.fall(canvas, 1.0, behind=False)

    def thickness(self, angle, grown):
        """How much farther than the skin the hair reaches at this angle of the picture plane."""
        style = self.style
        up = -np.sin(angle)
        thick = style.sides * smooth(up, -0.55, 0.0) + (style.top - style.sides) * smooth(up, 0.0, 0.9)
        thick = thick * grown
        if style.falls:
            thick = np.maximum(thick, style.sides * grown * smooth(up, -0.9, -0.5))
        if style.bumps:
            thick = thick + style.bumps * np.abs(np.sin(angle * style.bump_count + self.seed)) * smooth(up, -0.5, 0.0)
        if style.spikes:
            saw = np.abs((angle * 2.6 + self.seed % 7) % 1.0 - 0.5) * 2
            thick = thick + style.spikes * saw * smooth(up, 0.1, 0.7) * grown
        if style.swept:
            thick = thick * (1 + 0.35 * np.cos(angle) * -self.person.parting * (up > 0))
        return thick

    def fall(self, canvas, brightness, behind):
        """Hair that hangs down: all of it behind, or only beside the face."""
        style, pose, person = self.style, self.pose, self.person
        patch = Patch(canvas, pose.centre, pose.upright_axes(), (1.4, 2.3))
        if not patch:
            return
        turned = float(np.sin(pose.yaw))
        u, v = patch.a + (0.10 * turned if behind else 0.02 * turned), patch.b
        grown = 0.75 + 0.25 * person.hair_volume
        wave = style.waves * np.sin(v * 7.5 + np.sign(u) * 1.1 + self.seed % 5)
        length = style.falls + 0.05 * noise.wave(u * 9, self.seed + 4)
        if not behind and not style.locks:
            length = np.minimum(length, 0.80)
        half = style.width * grown * (0.93 + 0.07 * smooth(v, -0.4, 0.6)) - 0.10 * smooth(v, length - 0.5, length)
        outer = np.maximum(np.abs(u) + wave - half, v - length)
        crown = shapes.ellipse(u, v + 0.1, half, 1.0 * grown)
        outer = np.where(v < -0.1, crown, outer)
        if not behind:
            # The near side shows more of the cheek, the far side less.
            toward = np.sign(u) * turned
            inner = (0.60 + 0.07 * smooth(v, -0.2, 0.7)) * person.cheek + 0.16 * toward
            inner = inner + wave - 0.24 * (1 - smooth(v, -0.75, -0.2))
            outer = np.maximum(np.maximum(outer, inner - np.abs(u)), -0.62 - v)
        streak = noise.wave((u + wave * 0.8) * 11, self.seed + 6) * 0.7 + noise.wave((u + wave) * 26, self.seed + 7) * 0.3
        round_off = 1 - 0.20 * smooth(np.abs(u) / half, 0.6, 1.0)
        sheen = 0.16 * np.exp(-(((v - 0.25) / 0.22) ** 2)) + 0.10 * np.exp(-(((v - 1.3) / 0.25) ** 2))
        bright = brightness * (0.86 + 0.14 * streak + sheen) * round_off
        bright = bright * self.light.on(np.clip(u, -1, 1) * 0.7, -0.1, 0.7, wrap=0.5)
        patch.window.blend(np.clip(lit(self.colour, bright), 0, 1), coverage(outer, patch.step))
