"""One file a command; the only place that puts the parts together and knows the workers.

Face: what ``cli`` names.
"""
