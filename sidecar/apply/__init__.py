"""Brings the newest rendering into the file and into Backrest.

Face: ``applier`` (Applier), ``restarter`` (Restarter), ``config_file`` (ConfigFile), ``observe`` (Observer).
"""
