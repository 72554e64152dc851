"""Benchmarks of botobs: `python -m bench`. How to read them: docs/performance.md."""
