"""Before and after: sides from bundles, benchmarks and Prometheus windows, and the document of their comparison."""
