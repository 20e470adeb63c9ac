"""One run of backup-once, by restic or by restic-compose-backup.

Face: ``run`` (run_backup_once), ``options`` (BackupOptions).
"""
