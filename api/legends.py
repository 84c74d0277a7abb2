"""Legends as SVG."""

from api.palettes import NOT_SEEN, Palette

ROW, WIDTH = 18, 120


def legend(palette: Palette) -> str:
    """Return the legend of a palette: its classes from below, dry as nothing, not seen hatched."""
    labels = [f"{edge:g}" for edge in palette.edges]
    rows = []
    for index, (colour, label) in enumerate(zip(reversed(palette.colours), reversed(labels), strict=True)):
        y = ROW * (index + 1)
        rows.append(f'<rect x="4" y="{y}" width="24" height="{ROW}" fill="{colour}"/>')
        rows.append(f'<text x="34" y="{y + ROW}">{label}</text>')
    y = ROW * (len(labels) + 2)
    rows.append(f'<rect x="4" y="{y}" width="24" height="{ROW}" fill="url(#h)" stroke="{NOT_SEEN}"/>')
    rows.append(f'<text x="34" y="{y + 13}">not seen</text>')
    height = y + ROW + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif"'
        f' font-size="12" role="img" aria-label="{palette.name}, {palette.unit}">'
        f'<pattern id="h" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<path d="M0 0V6" stroke="{NOT_SEEN}" stroke-width="3"/></pattern>'
        f'<text x="4" y="13">{palette.unit}</text>{"".join(rows)}</svg>'
    )
