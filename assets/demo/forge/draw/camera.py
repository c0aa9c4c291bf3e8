"""What a camera does to a picture: exposure, warmth, blur, noise."""

import cv2
import numpy as np


def photograph(planes, scene, step):
    """The picture [h, w, 3] as uint8. `step` is a pixel's size in scene units."""
    warm = np.array((1 + scene.warmth, 1.0, 1 - scene.warmth), np.float32) * scene.exposure
    shown = np.ascontiguousarray(planes.transpose(1, 2, 0)) * warm
    sigma = scene.blur / 1000 / step
    if sigma > 0.25:
        shown = cv2.GaussianBlur(shown, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    rng = np.random.default_rng([606, scene.seed])
    shown += rng.standard_normal(shown.shape, np.float32) * scene.noise
    return (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)
