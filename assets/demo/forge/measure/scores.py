"""Figures of detectors and embeddings, from lists of numbers: average precision, doubles, errors of
points, accuracy of comparisons."""

import numpy as np

SAME_PLACE = 0.5


def iou(box, others):
    """Intersection over union of a box with each of others [n, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    common = (high - low).clip(0).prod(1)
    area = (box[2:4] - box[:2]).prod() + (others[:, 2:4] - others[:, :2]).prod(1)
    return common / np.maximum(area - common, 1e-9)


def suppressed(boxes, scores, most):
    """Which boxes are kept: the surest first, none that overlaps a kept one by more than `most`."""
    kept = []
    for at in np.argsort(-scores, kind="stable"):
        if not kept or iou(boxes[at], boxes[kept]).max() <= most:
            kept.append(int(at))
    return kept


def matched(found, true):
    """For each found box, surest first, the true one it finds, or -1; each true one is found once."""
    free = np.ones(len(true), bool)
    result = []
    for box in found:
        overlaps = np.where(free, iou(box, true), 0) if len(true) else np.zeros(0)
        best = int(overlaps.argmax()) if len(true) else -1
        if best >= 0 and overlaps[best] >= SAME_PLACE:
            free[best] = False
            result.append(best)
        else:
            result.append(-1)
    return result


def average_precision(pictures):
    """Area below the curve of precision over recall at an IoU of 0.5.

    `pictures`: for each a pair of found faces [n, 15] (box, points, score; surest first) and true
    ones [k, 14]."""
    rows, count = [], 0
    for found, true in pictures:
        count += len(true)
        rows += [(face[14], match >= 0) for face, match in zip(found, matched(found, true), strict=True)]
    rows.sort(key=lambda row: -row[0])
    right = np.array([row[1] for row in rows], float)
    recall = np.concatenate([[0], right.cumsum() / max(count, 1)])
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    # At each recall the best precision that is to be had at that recall or a higher one.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * precision).sum())


def detection(pictures, certain):
    """All figures of a detector, for faces of at least the score `certain` where it matters."""
    lost = wrong = doubles = on_nobody = faces = 0
    point_errors, overlaps = [], []
    for found, true in pictures:
        found = found[found[:, 14] >= certain]
        matches = matched(found, true)
        faces += len(true)
        lost += len(true) - sum(match >= 0 for match in matches)
        for face, match in zip(found, matches, strict=True):
            if match >= 0:
                size = np.sqrt((true[match, 2:4] - true[match, :2]).prod())
                away = (face[4:14] - true[match, 4:14]).reshape(5, 2)
                point_errors.append(np.hypot(*away.T).mean() / size)
                overlaps.append(iou(face, true[match : match + 1])[0])
            elif len(true) and iou(face, true).max() > 0.1:
                doubles += 1
            else:
                wrong += 1
                on_nobody += not len(true)
    errors = np.array(point_errors or [np.nan])
    return {
        "pictures": len(pictures),
        "faces": faces,
        "AP at IoU 0.5": average_precision(pictures),
        "lost": lost,
        "doubles": doubles,
        "wrong": wrong,
        "of these on pictures of nobody": on_nobody,
        "mean IoU": float(np.mean(overlaps or [np.nan])),
        "mean point error": float(errors.mean()),
        "95 % of point errors below": float(np.quantile(errors, 0.95)),
        "largest point error": float(errors.max()),
    }


def verification(same, different, threshold=None):
    """Figures of an embedding from cosines of pairs of one person and of two."""
    same, different = np.sort(same), np.sort(different)
    # Both errors for any threshold between two neighbours.
    at = np.unique(np.concatenate([same, different]))
    right = (len(same) - np.searchsorted(same, at)) + np.searchsorted(different, at)
    best = right.max()
    plateau = at[right == best]
    figures = {
        "pairs": len(same) + len(different),
        "best accuracy": float(best / (len(same) + len(different))),
        "best threshold": float((plateau[0] + plateau[-1]) / 2),
        "same: 0.1, 1, 5, 50 %": np.quantile(same, [0.001, 0.01, 0.05, 0.5]).round(3).tolist(),
        "different: 50, 95, 99, 99.9 %": np.quantile(different, [0.5, 0.95, 0.99, 0.999]).round(3).tolist(),
        "found at 1 of 1000 wrong": float((same > np.quantile(different, 0.999)).mean()),
    }
    if threshold is not None:
        figures["threshold"] = threshold
        figures["accuracy"] = float(((same >= threshold).sum() + (different < threshold).sum()) / figures["pairs"])
        figures["same that are refused"] = float((same < threshold).mean())
        figures["different that are taken"] = float((different >= threshold).mean())
    return figures
