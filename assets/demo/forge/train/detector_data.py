"""Training pictures for the detector: canvases put together from rendered scenes, and what each cell
of the network should say about them."""

import cv2
import numpy as np

from .align import swapped
from .augment import spoil, waves
from .data_faces import SCENE_SIDE, opened
from .detector_net import STRIDES, cells

# Sides of canvases with their shares; a batch has one, and about the same number of pixels.
SIDES, SIDE_SHARES = (256, 320, 448, 640), (0.28, 0.5, 0.17, 0.05)
# Least and largest size (root of the area) of faces that each grid answers for. They overlap, so that
# no face falls between two grids; both answers are then the same box.
BANDS = ((0, 52), (38, 118), (90, 1e9))
# Smaller faces, and those of which less than half is seen, count neither as faces nor as none.
SIZE_MIN, SEEN_MIN = 12, 0.55
# Cells whose middle is so many cells from a face's answer for it; those somewhat further need not.
NEAR, AROUND = 1.0, 1.9
NEGATIVE, IGNORED, POSITIVE = 0, -1, 1


class Canvases:
    """Draws canvases from the scenes that are rendered."""

    def __init__(self):
        self.pixels, labels, done = opened("scenes")
        self.labels = np.array(labels)
        self.rows = np.flatnonzero(done)
        # Some scenes are kept for a look at how training goes.
        self.rows = self.rows[self.rows % 50 != 0]
        has_face = np.isfinite(self.labels[self.rows, 0, 0])
        self.peopled, self.empty = self.rows[has_face], self.rows[~has_face]

    def batch(self, rng, pixels):
        """Pictures BGR [n, side, side, 3] and targets [n, cells, 15] (label, box, points)."""
        side = int(rng.choice(SIDES, p=SIDE_SHARES))
        drawn = [self.canvas(rng, side) for _ in range(max(pixels // (side * side), 1))]
        grid = cells(side, side)
        pictures = np.stack([picture for picture, _, _ in drawn])
        return pictures, np.stack([targets(boxes, points, grid) for _, boxes, points in drawn]), grid

    def canvas(self, rng, side):
        """A picture with its boxes [k, 5] and points [k, 5, 2]."""
        kind = rng.random()
        if kind < 0.16:
            picture, boxes, points = self.part(rng, self.empty, side)
        elif kind < 0.76:
            picture, boxes, points = self.part(rng, self.peopled, side)
        else:
            picture, boxes, points = self.mosaic(rng, side)
        if rng.random() < 0.12:
            picture = self.bordered(rng, picture)
        if rng.random() < 0.5:
            picture, boxes, points = mirrored(picture, boxes, points)
        sizes = sizes_of(boxes) if len(boxes) else [side / 3]
        if rng.random() < 0.25:
            picture, points = waves(rng, picture, points, rng.uniform(20, 80), 0.03 * min(sizes))
        picture = spoil(rng, picture, min(float(np.median(sizes)), 120))
        return picture[..., ::-1], boxes, points

    def part(self, rng, rows, side):
        """One scene, scaled, turned and moved so that something of it fills the canvas."""
        row = int(rng.choice(rows))
        boxes, points = self.faces(row)
        source = self.pixels[row]
        if len(boxes):
            chosen = rng.integers(len(boxes))
            box, size = boxes[chosen], sizes_of(boxes)[chosen]
            # As often from 30 to 60 as from 150 to 300 pixels, as far as the scene's face allows.
            wanted = np.exp(rng.uniform(np.log(24), np.log(min(340, 0.95 * side))))
            scale = float(np.clip(wanted / size, 0.3, 2.4))
            middle = (box[:2] + box[2:4]) / 2
            at = rng.uniform(0.15, 0.85, 2) * side if scale * SCENE_SIDE > side else None
        else:
            scale = float(np.exp(rng.uniform(np.log(0.5), np.log(2.4)))) * side / SCENE_SIDE
            middle, at = rng.uniform(0.2, 0.8, 2) * SCENE_SIDE, rng.uniform(0.2, 0.8, 2) * side
        if at is None:
            # The scene is smaller than the canvas: anywhere within, mostly all of it seen.
            middle = np.full(2, SCENE_SIDE / 2)
            at = rng.uniform(0, 1, 2) * (side - scale * SCENE_SIDE) + scale * SCENE_SIDE / 2
        matrix = placement(rng, scale, middle, at)
        border = [cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE][rng.choice(3, p=[0.3, 0.2, 0.5])]
        if border == cv2.BORDER_REFLECT_101 and len(boxes):
            border = cv2.BORDER_REPLICATE  # A mirror image of a face would be a face without a box.
        picture = shrunk(source, matrix, side, border)
        if border == cv2.BORDER_CONSTANT and rng.random() < 0.5:
            picture = self.backed(rng, picture, matrix, side)
        return picture, *moved(matrix, boxes, points, side)

    def backed(self, rng, picture, matrix, side):
        """Puts an empty scene behind, where the black border is."""
        inside = warp(np.full((SCENE_SIDE, SCENE_SIDE), 255, np.uint8), matrix, side, cv2.BORDER_CONSTANT)
        back = cv2.resize(self.pixels[int(rng.choice(self.empty))], (side, side))
        return np.where(inside[..., None] > 127, picture, back)

    def mosaic(self, rng, side):
        """Several scenes beside each other, most of them small."""
        columns = int(rng.choice([2, 3, 4], p=[0.75, 0.2, 0.05]))
        step = -(-side // columns)
        picture = np.empty((step * columns, step * columns, 3), np.uint8)
        boxes, points = [np.zeros((0, 5))], [np.zeros((0, 5, 2))]
        for row in range(columns):
            for column in range(columns):
                rows = self.empty if rng.random() < 0.15 else self.peopled
                tile, tile_boxes, tile_points = self.tile(rng, int(rng.choice(rows)), step)
                corner = np.array([column, row]) * step
                picture[corner[1] : corner[1] + step, corner[0] : corner[0] + step] = tile
                boxes.append(tile_boxes + [*corner, *corner, 0])
                points.append(tile_points + corner)
        return picture[:side, :side], np.concatenate(boxes), np.concatenate(points)

    def tile(self, rng, row, step):
        """All of a scene or a part of it on a small square."""
        boxes, points = self.faces(row)
        scale = step / SCENE_SIDE * rng.uniform(1.0, 1.5)
        middle = SCENE_SIDE / 2 + rng.uniform(-1, 1, 2) * (SCENE_SIDE - step / scale) / 2
        matrix = placement(rng, scale, middle, np.array([step, step]) / 2)
        picture = shrunk(self.pixels[row], matrix, step, cv2.BORDER_REPLICATE)
        return picture, *moved(matrix, boxes, points, step)

    def bordered(self, rng, picture):
        """Black on the right or below, as photos that are no multiples of 32 get it."""
        picture = picture.copy()
        side = len(picture)
        if rng.random() < 0.5:
            picture[side - int(rng.uniform(1, 32)) :] = 0
        else:
            picture[:, side - int(rng.uniform(1, 32)) :] = 0
        return picture

    def faces(self, row):
        """Boxes, with what is seen of them as a fifth number, and points of a scene."""
        labels = self.labels[row]
        labels = labels[np.isfinite(labels[:, 0])].astype(np.float64)
        boxes = labels[:, :4]
        return np.concatenate([boxes, share_seen(boxes, SCENE_SIDE)], 1), labels[:, 4:14].reshape(-1, 5, 2)


def placement(rng, scale, middle, at):
    """A matrix that scales, turns a little and brings `middle` to `at`."""
    turn = np.radians(rng.normal(0, 7))
    stretch = np.exp(rng.normal(0, 0.03, 2))
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * stretch
    return np.hstack([matrix, (at - matrix @ middle)[:, None]])


def shrunk(source, matrix, side, border):
    """Warps without skipping pixels: a source that becomes much smaller is made smaller first.

    The matrix counts from the picture's edge, so a pixel's middle is at a half."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 0.6:
        small = max(int(round(len(source) * scale * 1.1)), 8)
        matrix = matrix.copy()
        matrix[:, :2] *= len(source) / small
        source = cv2.resize(source, (small, small), interpolation=cv2.INTER_AREA)
    return warp(source, matrix, side, border)


def warp(source, matrix, side, border):
    """OpenCV's warp, for which pixels are centred at whole numbers."""
    shift = matrix[:, :2] @ (0.5, 0.5) - 0.5
    matrix = np.hstack([matrix[:, :2], (matrix[:, 2] + shift)[:, None]])
    return cv2.warpAffine(source, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)


def moved(matrix, boxes, points, side):
    """Boxes and points where the matrix brings them, and what of the faces is still seen there. A
    turned box keeps its size and its middle."""
    if not len(boxes):
        return boxes, points
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    middle = (boxes[:, :2] + boxes[:, 2:4]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = (boxes[:, 2:4] - boxes[:, :2]) / 2 * scale
    points = points @ matrix[:, :2].T + matrix[:, 2]
    moved = np.concatenate([middle - half, middle + half], 1)
    seen = np.minimum(boxes[:, 4:], share_seen(moved, side))
    near = seen[:, 0] > 0
    return np.concatenate([moved, seen], 1)[near], points[near]


def share_seen(boxes, side):
    """How much of each box lies in a picture, as a column."""
    inside = (boxes[:, 2:].clip(0, side) - boxes[:, :2].clip(0, side)).prod(1)
    return (inside / (boxes[:, 2:] - boxes[:, :2]).prod(1))[:, None]


def mirrored(picture, boxes, points):
    """Left and right changed."""
    side = picture.shape[1]
    boxes = np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3], boxes[:, 4]], 1)
    points = swapped(np.stack([side - points[..., 0], points[..., 1]], -1))
    return np.ascontiguousarray(picture[:, ::-1]), boxes, points


def sizes_of(boxes):
    """Roots of the areas."""
    return np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def targets(boxes, points, grid):
    """What each cell should say: label, box (4) and points (10), in pixels."""
    rows = np.zeros((len(grid), 15), np.float32)
    middles = (grid[:, :2] + 0.5) * grid[:, 2:]

    def ignore(cells):
        rows[cells & (rows[:, 0] == NEGATIVE), 0] = IGNORED

    sizes = sizes_of(boxes)
    # Small faces last, so that a small one before a large one keeps its cells.
    for at in np.argsort(-sizes):
        box, size = boxes[at], sizes[at]
        away = np.abs(middles - (box[:2] + box[2:4]) / 2).max(1) / grid[:, 2]
        if size < SIZE_MIN or box[4] < SEEN_MIN:
            inside = np.all((middles > box[:2]) & (middles < box[2:4]), 1)
            ignore(inside | (away < AROUND))
            continue
        for stride, (low, high) in zip(STRIDES, BANDS, strict=True):
            level = grid[:, 2] == stride
            if low <= size < high:
                ignore(level & (away < AROUND))
                rows[level & (away < NEAR)] = [POSITIVE, *box[:4], *points[at].ravel()]
            elif low / 1.35 <= size < high * 1.35:
                ignore(level & (away < NEAR))
    return rows
