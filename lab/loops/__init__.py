"""
The lab's compiled loops: what its threads run outside the GIL.
"""
