"""The Docker engine: one snapshot, events in windows, operations, and one kind of error. Alone imports docker.

Face: ``source`` (open_engine), ``client`` (Engine), ``errors`` (EngineError), ``model`` (EngineSnapshot,
Container, Mount, Volume).
"""
