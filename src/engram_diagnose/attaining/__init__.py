"""
What this host can attain: measured by `engram-diagnose kernels`, kept as a record, used as facts until it expires.
"""
