"""Collections: a region and a family of products. Their parameters, with units and vocabulary."""

from dataclasses import dataclass
from typing import Any

from nowcast.errors import NotKept
from nowcast.run import Run

NERC = "https://vocab.nerc.ac.uk/standard_name/"
QUDT = "https://qudt.org/vocab/unit/"
_RATE = ("mm/h", f"{QUDT}MilliM-PER-HR", f"{NERC}rainfall_rate", "Rainfall rate")
_CHANCE = ("1", f"{QUDT}UNITLESS", f"{NERC}probability_of_rainfall_rate_above_threshold", "Probability of rain")
_AMOUNT = ("mm", f"{QUDT}MilliM", f"{NERC}thickness_of_rainfall_amount", "Rainfall amount")
_METHODS = {"rain_mean": "mean", "rain_p10": "10th percentile", "rain_p50": "median", "rain_p90": "90th percentile"}


@dataclass(frozen=True)
class Family:
    """Products that belong together."""

    name: str
    title: str
    prefix: str

    def products(self, run: Run) -> tuple[str, ...]:
        """Return the family's products that a run has."""
        every = (*run.shown, "accumulated")
        return tuple(p for p in every if p.startswith(self.prefix))


FAMILIES = (
    Family("rain", "Rain rate", "rain_"),
    Family("chance", "Probability of rain", "prob_"),
    Family("amount", "Accumulated rain", "accumulated"),
)


def split(collection: str) -> tuple[str, Family]:
    """Return (region, family) of a collection's id, or raise `NotKept`."""
    region, _, name = collection.rpartition("_")
    for family in FAMILIES:
        if family.name == name and region:
            return region, family
    raise NotKept(f"no collection {collection!r}; /edr/collections lists them")


def parameter(product: str) -> dict[str, Any]:
    """Return a parameter as EDR and CoverageJSON describe it."""
    unit, unit_id, property_id, label = _kind(product)
    return {
        "type": "Parameter",
        "id": product,
        "description": {"en": describe(product)},
        "unit": {"label": {"en": unit}, "symbol": {"value": unit, "type": unit_id}},
        "observedProperty": {"id": property_id, "label": {"en": label}},
    }


def edr_parameter(product: str) -> dict[str, Any]:
    """Return a parameter as EDR's collections describe it: plain texts, and how it was measured."""
    unit, unit_id, property_id, label = _kind(product)
    return {
        "type": "Parameter",
        "id": product,
        "description": describe(product),
        "label": describe(product),
        "data-type": "float",
        "unit": {"label": unit, "symbol": {"value": unit, "type": unit_id}},
        "observedProperty": {"id": property_id, "label": label},
        "measurementType": {"method": "sum" if product == "accumulated" else "mean", "duration": "PT5M"},
    }


def describe(product: str) -> str:
    """Return a product in words."""
    if product == "accumulated":
        return "Rain since the base time"
    if product.startswith("prob_"):
        return f"Probability of at least {product.removeprefix('prob_')} mm/h"
    return f"Rain rate, {_METHODS.get(product, product.removeprefix('rain_').replace('_', ' '))}"


def _kind(product: str) -> tuple[str, str, str, str]:
    return _AMOUNT if product == "accumulated" else _CHANCE if product.startswith("prob_") else _RATE
