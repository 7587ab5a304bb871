"""What stops a benchmark: a figure that cannot be taken honestly is not taken at all."""

from __future__ import annotations


class BenchError(Exception):
    """One line that says which condition of a measurement did not hold."""
