"""
The index of the kernels against hnswlib, at equal recall.
"""

import kernel_hnsw
from outcome import Outcome


def run(*, quick: bool = False) -> list[Outcome]:
    """Queries a second at each setting of the guide's matrix."""
    return kernel_hnsw.outcomes(quick=quick)
