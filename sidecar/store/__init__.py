"""config.json and the state on the disk: compare-and-swap, recovery, kept versions.

Face: ``config_store`` (ConfigStore), ``state`` (State), ``state_store`` (StateStore), ``errors`` (StoreError).
"""
