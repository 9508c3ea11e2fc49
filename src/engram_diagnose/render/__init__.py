"""Rendering: a diagnosis document as text for a terminal, as Markdown, as JSON."""
