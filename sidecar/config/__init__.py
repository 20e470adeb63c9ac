"""Backrest's config.json: what it may say, and whether Backrest would load it. Pure.

Face: ``document`` (parse, dump, validate), ``plan`` (Plan, Hook), ``cron`` (normalize).
"""
