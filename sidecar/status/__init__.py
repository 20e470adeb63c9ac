"""What the daemon is doing: the board, the status file, health, metrics and announcements.

Face: ``board`` (StatusBoard), ``announcer`` (Announcer), ``healthcheck``.
"""
