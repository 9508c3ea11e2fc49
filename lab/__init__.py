"""
A small memory server that speaks the performance guide's dialect, with faults to plant: a lab, never a product.

Its settings do what the guide says they do, so that a planted fault is physically there, and taking it away helps. It
serves the demo, the end-to-end tests, and the labelled cases that confidence is judged by. Importing this package
imports neither numba nor numpy.
"""

if __name__ == "lab":
    raise ImportError(
        "import engram_diagnose.lab instead of lab: "
        "the root folder is linked into the package, and importing it twice makes two of every class"
    )
