"""``backrest.*`` labels: what one container or volume asks for. Pure.

Face: ``reader`` and ``policy`` (read them), ``keys`` (the table of labels), ``guess`` (what is ours, or misspelt).
"""
