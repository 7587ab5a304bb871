"""Metrics, read as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families


class Samples:
    """The values of a page of metrics."""

    def __init__(self, families: Iterable[Metric]) -> None:
        """
        Take them.

        Args:
            families: parsed, or as they were made.
        """
        self.families = list(families)

    @classmethod
    def parse(cls, text: str) -> Samples:
        """Read the text format."""
        return cls(text_string_to_metric_families(text))

    def of(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of one name, by the values of their labels in the order of the labels' names."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name
        }

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples with these labels."""
        return sum(
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
