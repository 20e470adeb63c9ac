"""Labels in Compose files and docker inspect output, checked without an engine.

Face: ``checks`` (lint_files), ``command`` (lint).
"""
