"""Runs the two face networks with onnxruntime, prepared and read as photog does it."""

import numpy as np
import onnxruntime

from ..train.align import align
from ..train.detector_net import KINDS, STRIDES, cells
from .scores import suppressed


def opened(path):
    """A session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Detector:
    """Faces of photos of at most 640 pixels a side, which photog does not scale."""

    def __init__(self, path):
        self.session = opened(path)
        self.names = [f"{kind}_{stride}" for kind, _ in KINDS for stride in STRIDES]

    def faces(self, photo, least, overlap):
        """Rows of box, points and score [n, 15], the surest first."""
        height, width = photo.shape[:2]
        if max(height, width) > 640:
            raise ValueError("larger photos are not scaled here")
        padded = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.float32)
        padded[:height, :width] = photo[..., ::-1]
        outputs = self.session.run(self.names, {"input": padded.transpose(2, 0, 1)[None]})
        parts = [np.concatenate(outputs[at : at + len(STRIDES)], 1)[0] for at in range(0, len(outputs), len(STRIDES))]
        classes, objects, boxes, points = parts
        grid = cells(*padded.shape[:2])
        score = np.sqrt(classes[:, 0].clip(0, 1) * objects[:, 0].clip(0, 1))
        sure = score >= least
        grid, boxes, points, score = grid[sure], boxes[sure], points[sure], score[sure]
        corner, stride = grid[:, :2], grid[:, 2:]
        middle, half = (corner + boxes[:, :2]) * stride, np.exp(boxes[:, 2:]) * stride / 2
        points = (points.reshape(-1, 5, 2) + corner[:, None]) * stride[:, None]
        rows = np.concatenate([middle - half, middle + half, points.reshape(-1, 10), score[:, None]], 1)
        return rows[suppressed(rows[:, :4], score, overlap)].reshape(-1, 15)


class Embedding:
    """Unit vectors of faces."""

    def __init__(self, path):
        self.session = opened(path)

    def of(self, photo, points):
        """The face of a photo with these points."""
        crop = align(np.ascontiguousarray(photo), points).astype(np.float32)
        x = ((crop - 127.5) / 127.5).transpose(2, 0, 1)[None]
        row = self.session.run(None, {"input": x})[0][0]
        return row / np.linalg.norm(row)
