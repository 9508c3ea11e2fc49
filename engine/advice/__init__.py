"""One decision per parameter: what to set, why, when, what it costs and what it should bring."""
