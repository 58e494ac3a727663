"""Run the notebooks in order, headless, and gather what they made."""

from synthlib.pipeline.reproduce import Choice, reproduce

__all__ = ["Choice", "reproduce"]
