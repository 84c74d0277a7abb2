"""A set of engines that does not fit is refused before anything is loaded, with the table of what needs what."""

import pytest

from engines.memory import CONTEXT, MEBI, Need, require_fit, total
from nowcast.errors import DoesNotFit

NEEDS = [Need("lowlands", 200 * MEBI, 900 * MEBI), Need("alps", 100 * MEBI + 1, 400 * MEBI)]


def test_scratch_is_shared_and_inputs_and_outputs_are_not():
    assert total(NEEDS) == 300 * MEBI + 256 + 900 * MEBI
    assert total([]) == 0


def test_what_does_not_fit_is_refused_with_the_table():
    require_fit(NEEDS, total(NEEDS) + CONTEXT)
    with pytest.raises(DoesNotFit) as error:
        require_fit(NEEDS, total(NEEDS) + CONTEXT - 1)
    for told in ("lowlands", "alps", "900", "CUDA itself", "fewer or smaller"):
        assert told in str(error.value)
