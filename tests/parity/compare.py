"""Differences between graft's answers and Keras's, and the table of the worst."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Relative L2 of a layer's output, and absolute for a probability.
TOLERANCE = 1e-4
# The same for JPEGs: what another decoder changes in a photo is tens of times more.
JPEG_TOLERANCE = 1e-5


def relative_l2(got: np.ndarray, expected: np.ndarray) -> float:
    """‖got − expected‖ / ‖expected‖ in float64; infinite where shapes differ or a value is not finite."""
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    reference = expected.astype(np.float64)
    norm = float(np.linalg.norm(reference))
    difference = float(np.linalg.norm(got.astype(np.float64) - reference))
    return difference / norm if norm > 0 else (0.0 if difference == 0 else float("inf"))


@dataclass
class Row:
    """One model's comparison."""

    model: str
    tolerance: float = TOLERANCE
    layers: int = 0
    photos: int = 0
    worst: float = 0.0
    worst_layer: str = "-"
    worst_score: float | None = None
    note: str = ""
    failures: list[str] = field(default_factory=list)

    def output(self, photo: str, layer: str, got: np.ndarray, expected: np.ndarray) -> None:
        """Compares one layer's output."""
        if got.shape != expected.shape:
            self.failures.append(f"{self.model} {photo} {layer}: shape {got.shape}, Keras has {expected.shape}")
        error = relative_l2(got, expected)
        if error >= self.worst:
            self.worst, self.worst_layer = error, layer
        if not error <= self.tolerance:
            self.failures.append(f"{self.model} {photo} {layer}: relative L2 {error:.2e} > {self.tolerance:.0e}")

    def classes(self, photo: str, got: list[tuple[int, float]], probabilities: np.ndarray) -> None:
        """Compares the best classes, in order, and their scores."""
        expected = top_k(probabilities, len(got))
        if [index for index, _ in got] != expected:
            self.failures.append(f"{self.model} {photo}: top {len(got)} {got}, Keras has {expected}")
        error = max(abs(score - float(probabilities[index])) for index, score in got)
        self.worst_score = max(self.worst_score or 0.0, error)
        if not error <= self.tolerance:
            self.failures.append(f"{self.model} {photo}: a score differs by {error:.2e} > {self.tolerance:.0e}")

    def layer_list(self, got: list[dict], expected: list[dict]) -> None:
        """Compares index, name, type and shape of every layer."""
        keys = ("index", "name", "type", "shape")
        ours = [{key: layer[key] for key in keys} for layer in got]
        if len(ours) != len(expected):
            self.failures.append(f"{self.model}: {len(ours)} layers, Keras has {len(expected)}")
        for mine, theirs in zip(ours, expected):
            if mine != theirs:
                self.failures.append(f"{self.model}: layer {mine}, Keras has {theirs}")
                break


def top_k(probabilities: np.ndarray, k: int) -> list[int]:
    """Indices of the largest values, ties to the lower index."""
    return [int(index) for index in np.argsort(-probabilities, kind="stable")[:k]]


def print_rows(rows: list[Row]) -> None:
    """The worst of every model, as a Markdown table."""
    print("\n| model | layers | photos | worst relative L2 | at layer | worst score | note |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        score = "-" if row.worst_score is None else f"{row.worst_score:.1e}"
        verdict = f"{row.worst:.1e}" + (" **fails**" if row.failures else "")
        print(f"| {row.model} | {row.layers} | {row.photos} | {verdict} | {row.worst_layer} | {score} | {row.note} |")
