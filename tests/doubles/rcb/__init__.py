"""A restic-compose-backup for the tests."""
