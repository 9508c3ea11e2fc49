"""
Microbenchmarks that tell what a host can attain (`host.attainable.*` facts).

`loops` holds the jitted loops, which the lab uses as well; `measure` times them and says how far each figure can be
trusted. Importing this package imports neither numba nor numpy.
"""

if __name__ == "kernels":
    raise ImportError(
        "import engram_diagnose.kernels instead of kernels: "
        "the root folder is linked into the package, and importing it twice makes two of every class"
    )
