"""Were these images processed in ways that make results too good? The audit of magnitude images."""

from synthlib.audit import defects, trials
from synthlib.audit.checks import CHECKS
from synthlib.audit.examining import examine
from synthlib.audit.findings import GRADES, NOTE, RISK, TOO_GOOD, Audit, Check, Finding
from synthlib.audit.repairing import repair

__all__ = [
    "CHECKS",
    "GRADES",
    "NOTE",
    "RISK",
    "TOO_GOOD",
    "Audit",
    "Check",
    "Finding",
    "defects",
    "examine",
    "repair",
    "trials",
]
