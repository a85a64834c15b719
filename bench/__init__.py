"""Benches: each runs as ``python -m bench.NAME [--quick]`` and prints its figures, last, as one line of JSON."""
