"""Writes tests/fixtures/temperature.json: logits, classes, and what SciPy makes of them.

The temperature T minimises the sum of 8 (1 / T - 1)² and the cross-entropies, of which n + ½ of n + 1 count as right;
`error_before` and `error_after` are expected calibration errors over 15 bins, the second with a temperature per fifth of the
images that was fitted to the others, and `loss_*` are mean cross-entropies likewise. Run from the repository's root with SciPy 1.17: python tests/goldens/temperature.py
"""

import json
import pathlib

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

FILE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "temperature.json"
FOLDS = 5
BINS = 15


def fit(logits, truths):
    (images, classes), right = logits.shape, (len(truths) + 0.5) / (len(truths) + 1)
    targets = np.full((images, classes), (1 - right) / (classes - 1))
    targets[np.arange(images), truths] = right

    def cost(log_t):
        return -(targets * log_softmax(logits / np.exp(log_t), axis=1)).sum() + 8 * (np.exp(-log_t) - 1) ** 2

    found = minimize_scalar(cost, bounds=(np.log(0.01), np.log(100)), method="bounded", options={"xatol": 1e-12})
    return float(np.exp(found.x))


def error(scores, truths):
    best, right = scores.max(axis=1), scores.argmax(axis=1) == truths
    edges = np.linspace(0, 1, BINS + 1)
    inside = [(best > low) & (best <= high) for low, high in zip(edges[:-1], edges[1:])]
    return float(sum(abs(right[bin].mean() - best[bin].mean()) * bin.mean() for bin in inside if bin.any()))


def case(rng, images, classes, scale, noise):
    """Logits whose class is drawn from a softmax that is `scale` times flatter than theirs; without `noise`, all are right."""
    logits = np.round(rng.normal(size=(images, classes)) * 2, 3)
    truths = np.array([rng.choice(classes, p=row) for row in softmax(logits, axis=1)]) if noise else logits.argmax(axis=1)
    logits = np.round(logits * scale, 3)
    folds = np.arange(images) % FOLDS
    def loss(scores):
        return float(-np.log(np.clip(scores[np.arange(images), truths], 1e-7, 1)).mean())

    held_out = np.vstack([softmax(row / fit(logits[folds != fold], truths[folds != fold])) for row, fold in zip(logits, folds)])
    return {
        "temperature": fit(logits, truths),
        "error_before": error(softmax(logits, axis=1), truths),
        "error_after": error(held_out, truths),
        "loss_before": loss(softmax(logits, axis=1)),
        "loss_after": loss(held_out),
        "truths": truths.tolist(),
        "logits": logits.tolist(),
    }


def main():
    rng = np.random.default_rng(12)
    cases = {
        "two classes, too sure": case(rng, 60, 2, 4.0, True),
        "three classes, not sure enough": case(rng, 40, 3, 0.3, True),
        "ten classes, too sure": case(rng, 50, 10, 6.0, True),
        "four classes, all right": case(rng, 12, 4, 5.0, False),
    }
    FILE.write_text("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(of)}" for name, of in cases.items()) + "\n}\n")


if __name__ == "__main__":
    main()
