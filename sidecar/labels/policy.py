"""``backrest.*`` labels as frozen models: what one container or volume asks for.

The rules are in :mod:`sidecar.labels.reader`, the table of keys in :mod:`sidecar.labels.keys`, the values in
:mod:`sidecar.labels.values`.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from sidecar.findings import Finding
from sidecar.labels.guess import ENABLE
from sidecar.labels.keys import KEYS, NO_LABELS, VOLUME_KEYS, parse_bool, split_csv
from sidecar.labels.reader import PlanReading, ours, read_labels, read_volume_labels
from sidecar.labels.retention import Keep
from sidecar.labels.values import LabelPolicy

__all__ = [
    "KEYS",
    "NO_CONTAINER_LABELS",
    "NO_VOLUME_LABELS",
    "VOLUME_KEYS",
    "ContainerLabels",
    "LabelPolicy",
    "PlanLabels",
    "VolumeLabels",
    "parse",
    "parse_bool",
    "parse_volume",
    "split_csv",
]


class PlanLabels(BaseModel):
    """One plan's labels, with what a named plan takes from the default one.

    Attributes:
        name: Empty for the default plan, else the ``<name>`` of ``backrest.<name>.…``.
        repo: Repository id; None for the default repo.
        schedule: Checked, as written (the first field may be ``T``); None for the default schedule.
        include: ``paths.include``: absolute, without ``..``; empty means every mount.
        exclude: ``paths.exclude``: paths and patterns, as written.
        keep: ``keep``; None for the default retention.
        start_commands: Commands before the backup, in label order.
        end_commands: Commands after it, in label order.
        template: The stop/start template is asked for, and no command label stands in its way.
        on_error: ``hooks.on-error``: one of ``labels.keys.ON_ERROR_WORDS``; None for the default.
        sources: Field → full key of the label it came from.
    """

    model_config = ConfigDict(frozen=True)

    name: str = ""
    repo: str | None = None
    schedule: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keep: Keep | None = None
    start_commands: tuple[str, ...] = ()
    end_commands: tuple[str, ...] = ()
    template: bool = False
    on_error: str | None = None
    sources: dict[str, str] = {}


class ContainerLabels(BaseModel):
    """What a container's labels ask for.

    Attributes:
        plans: The plans that are enabled and right.
        withdrawn: Names of plans with ``enable=false`` (empty string: the default plan).
        broken: Names of plans that are left out for a wrong label; what they had before stays.
        quiesce: ``backup-once`` stops this container.
        findings: In label order.
    """

    model_config = ConfigDict(frozen=True)

    plans: tuple[PlanLabels, ...] = ()
    withdrawn: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    quiesce: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def any(self) -> bool:
        """Whether the container asks for anything, rightly or wrongly."""
        return bool(self.plans or self.withdrawn or self.broken or self.quiesce)


class VolumeLabels(BaseModel):
    """What a volume's labels ask for, wherever it is mounted.

    Attributes:
        enable: True backs it up, False leaves it out, None says nothing.
        exclude: Entries that begin with ``/`` count from the volume's root, others are restic patterns.
        findings: In label order.
    """

    model_config = ConfigDict(frozen=True)

    enable: bool | None = None
    exclude: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether a wrong label leaves it open if the volume is to be backed up."""
        return self.enable is None and any(ENABLE in (f.label, f.hint) for f in self.findings)


NO_CONTAINER_LABELS = ContainerLabels()
NO_VOLUME_LABELS = VolumeLabels()
_ANY_LABEL = LabelPolicy()


def parse(
    labels: Mapping[str, str],
    *,
    container: str,
    image_labels: Mapping[str, str] = NO_LABELS,
    policy: LabelPolicy = _ANY_LABEL,
) -> ContainerLabels:
    """Return what a container's labels ask for. Raises nothing: what is wrong is a finding.

    Args:
        labels: All labels of the container; those outside ``backrest.`` do not count.
        container: Its name, for the findings.
        image_labels: Labels of its image; equal ones are ignored and reported, unless the policy trusts them.
        policy: What labels may do.
    """
    keys = ours(labels)
    if not keys:
        return NO_CONTAINER_LABELS
    reading = read_labels(labels, keys, container=container, image_labels=image_labels, policy=policy)
    return ContainerLabels(
        plans=tuple([_plan(plan) for plan in reading.plans]),
        withdrawn=tuple(reading.withdrawn),
        broken=tuple(reading.broken),
        quiesce=reading.quiesce,
        findings=tuple(reading.findings),
    )


def _plan(plan: PlanReading) -> PlanLabels:
    values = plan.values
    keep = values.get("keep")
    if keep is not None:
        values["keep"] = Keep.parse(keep)
    return PlanLabels(name=plan.name, sources=plan.sources, **values)


def parse_volume(labels: Mapping[str, str], *, volume: str) -> VolumeLabels:
    """Return what a volume's labels ask for. Raises nothing: what is wrong is a finding."""
    enable, exclude, findings = read_volume_labels(labels, volume=volume)
    if enable is None and not exclude and not findings:
        return NO_VOLUME_LABELS
    return VolumeLabels(enable=enable, exclude=exclude, findings=findings)
