"""A Backrest for the tests: its API, its file, its rules, its queue and its log."""
