"""The part of config.json that plans depend on, read out of the document. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from sidecar.config.validation import known_repos
from sidecar.plans.rendering import ConfigView, PlanFacts


def view(data: Mapping[str, Any]) -> ConfigView:
    """Return the repos and plans in the file's order. Repos that Backrest is about to remove are left out."""
    plans = data.get("plans") or ()
    return ConfigView(
        repo_ids=known_repos(data),
        plans=tuple(
            PlanFacts(p.get("id") or "", _text(p.get("repo")), _texts(p.get("paths"))) for p in plans
        ),
        local_repos=tuple(
            (repo["id"], path)
            for repo in data.get("repos") or ()
            if isinstance(repo.get("id"), str) and (path := local_directory(_text(repo.get("uri"))))
        ),
    )


def local_directory(uri: str) -> str:
    """Return the directory of a repository that restic keeps in one; empty for any other, and for a relative one.

    restic takes ``local:`` and a bare path for it (restic: internal/backend/location/location.go, Parse).
    """
    path = uri.strip().removeprefix("local:")
    return posixpath.normpath(path) if path.startswith("/") and "$" not in path else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple([v for v in value if isinstance(v, str)]) if isinstance(value, list) else ()
