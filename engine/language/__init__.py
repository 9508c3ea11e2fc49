"""The rule language: text in, checked rules out, and every problem at its place."""
