"""Inference: loaded rules and facts in, verdicts and firings out."""
