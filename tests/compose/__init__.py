"""Lint compared with Docker Compose itself."""
