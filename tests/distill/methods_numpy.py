"""The distillation losses written out in numpy, from their formulas and with loops.

Arguments are float64 activations ``[batch, time, frequency, channels]`` or complex spectra
``[batch, time, frequencies]``; ``active`` is ``[batch, time]``.
"""

from __future__ import annotations

from itertools import permutations
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Spectra = NDArray[np.complex128]


def cosine_latent(student: Array, teacher: Array, active: Array, matrix: Array) -> float:
    items = []
    for s, t, a in zip(student, teacher, active, strict=True):
        values = []
        for frame in np.flatnonzero(a):
            u, v = matrix @ s[frame].reshape(-1), t[frame].reshape(-1)
            v = np.concatenate([v, np.zeros(len(u) - len(v))])
            values.append(1.0 - u @ v / np.linalg.norm(u) / np.linalg.norm(v))
        items.append(np.mean(values) if values else 0.0)
    return float(np.mean(items))


def hint(student: Array, teacher: Array, active: Array, matrix: Array, bias: Array) -> float:
    student, teacher = coarse(student, teacher)
    items = []
    for s, t, a in zip(student, teacher, active, strict=True):
        frames = np.flatnonzero(a)
        if len(frames) == 0:
            items.append(0.0)
            continue
        predicted = np.stack([[matrix @ bin_ + bias for bin_ in s[frame]] for frame in frames])
        items.append(np.sum((predicted - t[frames]) ** 2) / np.sum(t[frames] ** 2))
    return float(np.mean(items))


def attention(student: Array, teacher: Array, active: Array) -> float:
    maps = coarse(*((side**2).sum(-1, keepdims=True) for side in (student, teacher)))
    items = []
    for q_s, q_t, a in zip(*maps, active, strict=True):
        u, v = (q[a > 0].reshape(-1) for q in (q_s, q_t))
        if len(u) == 0:
            items.append(0.0)
            continue
        items.append(np.sum((u / np.linalg.norm(u) - v / np.linalg.norm(v)) ** 2))
    return float(np.mean(items))


def similarity(student: Array, teacher: Array, active: Array) -> tuple[float, float]:
    """Distances per frame and per frequency."""
    student, teacher = (side * active[:, :, None, None] for side in (student, teacher))
    frames = [
        _gram_row_distance(student[:, t], teacher[:, t], int(item))
        for t in range(student.shape[1])
        for item in np.flatnonzero(active[:, t])
    ]
    student, teacher = coarse(student, teacher)
    bins = [
        _gram_row_distance(student[:, :, f], teacher[:, :, f], item)
        for f in range(student.shape[2])
        for item in range(len(student))
        if active[item].any()
    ]
    return float(np.mean(frames)), float(np.mean(bins))


def _gram_row_distance(student: Array, teacher: Array, item: int) -> float:
    rows = []
    for side in (student, teacher):
        vectors = [x.reshape(-1) for x in side]
        row = np.array([vectors[item] @ other for other in vectors])
        rows.append(row / np.linalg.norm(row))
    return float(np.sum((rows[0] - rows[1]) ** 2))


def relational(student: Array, teacher: Array, active: Array) -> tuple[float, float]:
    """Distances of pairs and of angles."""
    items = [b for b in range(len(student)) if active[b].any()]
    points = [
        {b: side[b][active[b] > 0].mean(axis=(0, 1)) for b in items} for side in (student, teacher)
    ]
    pairs, triplets = list(permutations(items, 2)), list(permutations(items, 3))
    lengths = [[float(np.linalg.norm(x[i] - x[j])) for i, j in pairs] for x in points]
    psi = [[value / np.mean(values) for value in values] for values in lengths]
    angles = [[_angle(x[i], x[j], x[k]) for i, j, k in triplets] for x in points]
    return (
        float(np.mean([_huber(s - t) for s, t in zip(*psi, strict=True)])),
        float(np.mean([_huber(s - t) for s, t in zip(*angles, strict=True)])),
    )


def _angle(first: Array, middle: Array, last: Array) -> float:
    one, other = first - middle, last - middle
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def _huber(difference: float) -> float:
    size = abs(difference)
    return 0.5 * size**2 if size <= 1.0 else size - 0.5


def output(student: Spectra, teacher: Spectra, scale: Array, weights: tuple[float, float]) -> float:
    return float(np.mean(distances(student * scale, teacher * scale, weights)))


def distances(one: Spectra, other: Spectra, weights: tuple[float, float]) -> Array:
    """Of compressed magnitudes and complex spectra at exponent 0.3, per bin."""
    loud = (np.abs(one) ** 0.3 - np.abs(other) ** 0.3) ** 2
    phased = np.abs(_compressed(one) - _compressed(other)) ** 2
    return np.asarray(weights[0] * loud + weights[1] * phased)


def _compressed(spectra: Spectra) -> Spectra:
    return np.asarray(np.abs(spectra) ** 0.3 * np.exp(1j * np.angle(spectra)))


def selective(
    student: Spectra,
    teacher: Spectra,
    clean: Spectra,
    scale: Array,
    weights: tuple[float, float],
    patch: tuple[int, int],
    share: float,
) -> float:
    student, teacher, clean = student * scale, teacher * scale, clean * scale
    gaps = distances(student, clean, weights) - distances(teacher, clean, weights)
    values = distances(student, teacher, weights)
    frames, bins = patch
    items = []
    for gap, value in zip(gaps, values, strict=True):
        patches = [
            (slice(t * frames, (t + 1) * frames), slice(f * bins, (f + 1) * bins))
            for t in range(ceil(gap.shape[0] / frames))
            for f in range(ceil(gap.shape[1] / bins))
        ]
        ranked = sorted(((gap[p].mean(), value[p].mean()) for p in patches), reverse=True)
        most = max(1, floor(share * len(ranked)))
        items.append(sum(v for g, v in ranked[:most] if g > 0.0) / most)
    return float(np.mean(items))


def coarse(student: Array, teacher: Array) -> tuple[Array, Array]:
    """Both with the fewer bins of the two, each the mean over the bins it overlaps."""
    bins = min(student.shape[2], teacher.shape[2])
    return _pool(student, bins), _pool(teacher, bins)


def _pool(value: Array, bins: int) -> Array:
    count = value.shape[2]
    edges = [(floor(i * count / bins), ceil((i + 1) * count / bins)) for i in range(bins)]
    return np.stack([value[:, :, low:high].mean(axis=2) for low, high in edges], axis=2)
