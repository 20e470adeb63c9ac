"""Plans → a new document, never with a fault, never touching a stranger's plan. Pure.

Face: ``merge`` (merge_checked), ``result`` (Merge), ``diff``.
"""
