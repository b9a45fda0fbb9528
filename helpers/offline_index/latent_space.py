"""Latent semantic analysis (Deerwester et al. 1990) of passages, by numpy alone."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from helpers.offline_index.search_words import stems

DIMENSIONS = 100
FIT_PASSAGES, FIT_FEATURES = 1000, 20_000  # the table to decompose is at most 160 MB


def features(texts: Sequence[str]) -> list[Counter[str]]:
    """Per text the counts of stems and of runs of four letters in them, so that German is near Germany."""
    counters = []
    for found in stems(texts):
        counter = Counter(found)
        for stem in found:
            padded = f" {stem} "
            counter.update(f"#{padded[start : start + 4]}" for start in range(len(padded) - 3))
        counters.append(counter)
    return counters


def latent_space(counters: Sequence[Counter[str]]) -> tuple[dict[str, bytes], list[bytes]]:
    """Weighted feature vectors and unit passage vectors, float64 (<= DIMENSIONS,).

    Truncated singular value decomposition of tf-idf (Deerwester et al. 1990), fitted on evenly spaced
    passages when there are more than FIT_PASSAGES; the others are folded in.
    """
    import numpy as np

    frequency = Counter(name for counter in counters for name in counter)
    names = sorted(sorted(frequency, key=lambda name: (-frequency[name], name))[:FIT_FEATURES])
    column = {name: number for number, name in enumerate(names)}
    weight = np.array([math.log((1 + len(counters)) / frequency[name]) for name in names])
    if not names:
        return {}, [b""] * len(counters)

    def row(counter: Counter[str]) -> Any:
        known = [name for name in counter if name in column]
        places = [column[name] for name in known]
        values = np.log1p([counter[name] for name in known]) * weight[places]
        return places, values / (np.linalg.norm(values) or 1.0)

    fitted = counters[:: math.ceil(len(counters) / FIT_PASSAGES)]
    table = np.zeros((len(fitted), len(names)))
    for number, counter in enumerate(fitted):
        places, values = row(counter)
        table[number, places] = values
    energies, left = np.linalg.eigh(table @ table.T)  # ascending
    kept = np.flatnonzero(energies > 1e-9 * energies[-1])[-DIMENSIONS:]
    right = table.T @ (left[:, kept] / np.sqrt(energies[kept]))
    vectors = []
    for counter in counters:
        places, values = row(counter)
        vector = values @ right[places]
        vectors.append((vector / (np.linalg.norm(vector) or 1.0)).tobytes())
    return {name: (weight[n] * right[n]).tobytes() for name, n in column.items()}, vectors
