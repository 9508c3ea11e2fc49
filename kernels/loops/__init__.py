"""
Loops compiled by numba: private loops over whole arrays, behind public functions that validate.

They run without the GIL on threads of the caller; none uses numba's own threads, whose layers abort where several
callers meet and do not survive a fork.
"""
