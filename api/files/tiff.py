"""One lead of a run as a GeoTIFF, kept for the ranges that a reader asks for next."""

from api.deps import Services
from api.files.cog import cog
from nowcast.chunks import PERCENT, RATE, to_values
from nowcast.grid import Grid
from nowcast.run import Run


def lead_tiff(services: Services, run: Run, grid: Grid, product: str, lead: int) -> bytes:
    """Return the file."""
    key = ("tiff", run.id, product, lead)
    body = services.tiles.get(key)
    if body is None:
        window = 0, grid.height, 0, grid.width
        pixels = services.store.pixels
        if product == "accumulated":
            field = to_values(pixels.accumulated(run, lead, window), RATE)
        else:
            field = to_values(
                pixels.plane(run, product, lead, window), PERCENT if product.startswith("prob_") else RATE
            )
        body = cog(field, grid)
        services.tiles.put(key, body, len(body))
    return body
