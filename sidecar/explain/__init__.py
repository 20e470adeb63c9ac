"""Why a container is backed up, or not, and how.

Face: ``command`` (explain).
"""
