"""Phase and signal against packages that others wrote; skipped where they are not installed."""

import pytest

from synthlib.scanner.contrast import FIELDS_T
from tests.benchmarks import references

HOW = "not installed; docs/references.md says how"


@pytest.mark.skipif(not references.has("qsm_forward"), reason=f"qsm-forward is {HOW}")
@pytest.mark.parametrize("seed", [1, 5])
def test_susceptibility_phase_is_that_of_qsm_forward(seed):
    error, size_rad = references.susceptibility_phase_error(seed)
    assert error < 0.01
    assert size_rad > 1  # something is compared


@pytest.mark.skipif(not references.has("epyg"), reason=f"EpyG is {HOW}")
@pytest.mark.parametrize("field_t", FIELDS_T)
def test_signals_are_those_of_extended_phase_graphs(field_t):
    errors = {what: error for what, error, _ in references.signal_errors(field_t)}
    assert len(errors) >= 9
    spoiled = {what for what in errors if references.RF_SPOILED in what}
    assert max(errors[what] for what in errors.keys() - spoiled) < 0.01
    assert max(errors[what] for what in spoiled) < 0.15  # fluid at short TR is not spoiled ideally
