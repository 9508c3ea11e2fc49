"""Which operations are slow, in which memory spaces, with what pattern, and why each is."""
