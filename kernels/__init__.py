"""
Microbenchmarks that tell what a host can attain (`host.attainable.*` facts).

No kernel is part of this release: those facts are unknown with a reason, and the rules that use them fall
back to the catalogue's figures and say so.
"""

if __name__ == "kernels":
    raise ImportError(
        "import engram_diagnose.kernels instead of kernels: "
        "the root folder is linked into the package, and importing it twice makes two of every class"
    )
