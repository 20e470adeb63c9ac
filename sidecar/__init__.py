"""backrest-sidecar: labels on containers become backup plans in Backrest."""

__version__ = "1.0.0"
