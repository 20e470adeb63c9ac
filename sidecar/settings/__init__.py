"""One table of settings; the command line, the environment variables and the README's table are made from it.

Face: ``settings`` (Settings, resolve), ``flags`` (FLAGS).
"""
