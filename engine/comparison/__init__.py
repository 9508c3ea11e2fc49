"""Did a change help? Samples of two sides in, a verdict with its interval out."""
