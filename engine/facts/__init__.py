"""Facts: typed values with provenance, in which *unknown, because* is a value of the first class."""
