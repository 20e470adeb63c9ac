"""Which repo a plan goes to (contract §5). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.findings import Finding, printable
from sidecar.labels.policy import PlanLabels
from sidecar.plans.rendering import ConfigView


@dataclass(frozen=True, slots=True)
class RepoChoice:
    """What decides about repos.

    Attributes:
        known: Ids of the repos that exist.
        explicit: ``--default-repo`` where it exists, else empty.
        fallback: Where a new plan goes; empty when there is no repo at all.
        standing: Repo of each plan in config.json whose repo exists. A managed plan keeps its repo: Backrest
            sorts plans by id, so a plan made in the UI must not move every backup to another disk.
        error: A sentence when ``--default-repo`` does not exist, else empty.
    """

    known: frozenset[str]
    explicit: str
    fallback: str
    standing: Mapping[str, str]
    error: str

    @classmethod
    def of(cls, view: ConfigView, wanted: str) -> RepoChoice:
        """Return the choice for a config.json and the explicit default repo ``wanted`` (empty for none)."""
        known = frozenset(view.repo_ids)
        explicit = wanted if wanted in known else ""
        first = next((plan.repo for plan in view.plans if plan.repo in known), "")
        fallback = explicit or first or (view.repo_ids[0] if view.repo_ids else "")
        error = ""
        if wanted and not explicit:
            error = f"the default repo {printable(wanted)} is not among config.json's repos: " + (
                ", ".join(printable(repo) for repo in view.repo_ids) or "there are none; add one in Backrest"
            )
        return cls(known, explicit, fallback, {p.id: p.repo for p in view.plans if p.repo in known}, error)

    def choose(self, label: str | None, plan_id: str, former: str = "") -> tuple[str, str]:
        """Return (repo, where it comes from); the repo is empty when there is none.

        Args:
            label: ``backrest.repo``.
            plan_id: The plan.
            former: The id that the workload's plan has had until now, where an option has renamed it.
        """
        if label:
            return (label if label in self.known else ""), "backrest.repo"
        if self.explicit:
            return self.explicit, "--default-repo"
        for kept in (plan_id, former):
            if kept in self.standing:
                return self.standing[kept], "config.json"
        return self.fallback, "config.json"


def no_repo_finding(name: str, labels: PlanLabels, repos: RepoChoice) -> Finding:
    """Return why the plan of container ``name`` has no repo."""
    if labels.repo:
        known = ", ".join(printable(repo) for repo in sorted(repos.known)) or "none"
        text = f"{name}: backrest.repo={printable(labels.repo)} is not among config.json's repos ({known})"
        label = labels.sources.get("repo", "backrest.repo")
        return Finding(
            "unknown-repo", text, container=name, label=label, value=printable(labels.repo), skips=True
        )
    text = f"{name}: there is no repo to back up to; add one in Backrest, then it is taken up"
    return Finding("no-repo", text, container=name, label="backrest.repo", skips=True)
