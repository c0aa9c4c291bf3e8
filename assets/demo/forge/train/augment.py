"""Makes rendered pictures worse in the ways in which photos and generated pictures are.

All functions take and give uint8 pictures [h, w, 3] and a numpy generator. `spoil` is the mixture that
training uses; it keeps everything in its place except for `waves`, which says where points went.
"""

import cv2
import numpy as np


def colours(rng, picture, strength=1.0):
    """Other hue, saturation, gamma, brightness and contrast."""
    turn = rng.normal(0, 0.12 * strength)
    saturation = np.exp(rng.normal(0, 0.25 * strength))
    grey = np.full((3, 3), 1 / 3)
    # A turn around the grey axis, then a pull to or from it.
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    hue = np.cos(turn) * np.eye(3) + np.sin(turn) * axis + (1 - np.cos(turn)) * grey
    matrix = grey + saturation * (hue - grey)
    matrix = matrix * np.exp(rng.normal(0, 0.07 * strength, (3, 1)))
    picture = cv2.transform(picture, matrix)
    gamma = np.exp(rng.normal(0, 0.22 * strength))
    gain = np.exp(rng.normal(0, 0.12 * strength))
    shift = rng.normal(0, 8 * strength)
    values = (np.arange(256) / 255) ** gamma
    values = (values - 0.5) * gain + 0.5
    return cv2.LUT(picture, np.clip(values * 255 + shift, 0, 255).astype(np.uint8))


def light(rng, picture):
    """A soft light or shade across the picture."""
    height, width = picture.shape[:2]
    field = rng.normal(1.0, 0.2, (3, 3)).astype(np.float32)
    field = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.multiply(picture, cv2.merge([field] * 3), dtype=cv2.CV_8U)


def blurred(rng, picture, most):
    """Out of focus or moved, by up to `most` pixels."""
    sigma = rng.uniform(0.3, max(most, 0.4))
    if rng.random() < 0.7:
        return cv2.GaussianBlur(picture, (0, 0), sigma)
    length = max(int(sigma * 2), 2)
    kernel = np.zeros((2 * length + 1,) * 2, np.float32)
    angle = rng.uniform(0, np.pi)
    step = np.array([np.cos(angle), np.sin(angle)]) * length
    ends = [tuple(np.round(length + sign * step).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, *ends, 1.0)
    return cv2.filter2D(picture, -1, kernel / kernel.sum())


def coarse(rng, picture, most):
    """Made smaller by a factor of up to `most` and larger again."""
    height, width = picture.shape[:2]
    factor = rng.uniform(1.2, max(most, 1.3))
    small = (max(int(width / factor), 8), max(int(height / factor), 8))
    down = rng.choice([cv2.INTER_AREA, cv2.INTER_LINEAR])
    up = rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])
    return cv2.resize(cv2.resize(picture, small, interpolation=down), (width, height), interpolation=up)


def smoothed(rng, picture):
    """Fine detail lost and edges kept, as an autoencoder of pictures does it."""
    if rng.random() < 0.5:
        return cv2.medianBlur(picture, int(rng.choice([3, 5])))
    return cv2.bilateralFilter(picture, 5, rng.uniform(15, 60), 2.5)


def stained(rng, picture):
    """Coloured clouds of a size of 4 to 16 pixels, as noise in latents gives."""
    height, width = picture.shape[:2]
    cell = rng.uniform(4, 16)
    noise = rng.normal(0, rng.uniform(2, 9), (int(height / cell) + 2, int(width / cell) + 2, 3))
    noise = cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.add(picture, noise, dtype=cv2.CV_8U)


def grainy(rng, picture):
    """Noise of single pixels, with colour or without."""
    spread = rng.uniform(2, 14)
    if rng.random() < 0.5:
        return cv2.add(picture, cv2.merge([fast_noise(rng, picture.shape[:2], spread)] * 3), dtype=cv2.CV_8U)
    return cv2.add(picture, fast_noise(rng, picture.shape, spread), dtype=cv2.CV_8U)


def fast_noise(rng, shape, spread):
    """Nearly normal numbers: the sum of two bytes has a spread of 104."""
    count = int(np.prod(shape))
    numbers = np.frombuffer(rng.bytes(2 * count), np.uint8).astype(np.int16)
    noise = (numbers[:count] + numbers[count:] - 255).astype(np.float32) * (spread / 104)
    return noise.round().astype(np.int16).reshape(shape)


def jpeg(rng, picture):
    """Packed as JPEG and unpacked."""
    quality = int(rng.uniform(28, 95))
    done, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(packed, cv2.IMREAD_COLOR) if done else picture


def waves(rng, picture, points, cell, most):
    """Things pushed about by up to `most` pixels, in swells of about `cell` pixels; gives the points too."""
    height, width = picture.shape[:2]
    rows, columns = int(height / cell) + 3, int(width / cell) + 3
    push = rng.normal(0, most / 2, (rows, columns, 2)).clip(-most, most).astype(np.float32)
    push = cv2.resize(push, (width, height), interpolation=cv2.INTER_CUBIC)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    pushed = cv2.remap(picture, grid + push, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if len(points) == 0:
        return pushed, points
    at = np.round(points).astype(int)
    at_x, at_y = at[..., 0].clip(0, width - 1), at[..., 1].clip(0, height - 1)
    # The pixel at p shows what was at p + push, so what was at p is now at about p - push.
    return pushed, points - push[at_y, at_x]


def spoil(rng, picture, face, strength=1.0):
    """A random mixture. `face` is the size of the face that matters, in pixels: what hides detail is
    kept below what would hide the face."""
    unit = face / 112
    if rng.random() < 0.85:
        picture = colours(rng, picture, strength)
    if rng.random() < 0.25:
        picture = light(rng, picture)
    if rng.random() < 0.03:
        picture = np.repeat(picture.mean(2, keepdims=True), 3, 2).astype(np.uint8)
    for share, worse in (
        (0.25, lambda image: blurred(rng, image, 2.2 * unit * strength)),
        (0.25, lambda image: coarse(rng, image, 1 + 2.5 * unit * strength)),
        (0.15, lambda image: smoothed(rng, image)),
        (0.15, lambda image: stained(rng, image)),
        (0.15, lambda image: grainy(rng, image)),
        (0.20, lambda image: jpeg(rng, image)),
    ):
        if rng.random() < share:
            picture = worse(picture)
    return picture
