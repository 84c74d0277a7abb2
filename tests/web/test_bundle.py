"""What the page weighs."""

import gzip
import re

LIMIT = 700 * 1000


def test_the_page_weighs_at_most_700_kb_gzipped(built):
    weights = {f.name: len(gzip.compress(f.read_bytes(), 9)) for f in built.rglob("*") if f.is_file()}
    assert sum(weights.values()) <= LIMIT, weights


def test_nothing_comes_from_outside(built):
    """No address in the page, its styles or our own code points elsewhere (names of XML namespaces aside)."""
    told = (built / "index.html").read_text() + "".join(f.read_text() for f in built.rglob("*.css"))
    assert re.findall(r"https?://(?!www\.w3\.org)[^\s\"')]+", told) == []
    assert "<script>" not in told
