"""A look at the engine and its labels → the plans to have. Pure.

Face: ``render`` (render), ``rendering`` (Rendering, Owner), ``workloads`` (Workload), ``discovery``.
"""
