"""Which keys a Compose file knows, and of which shape their values are: the table that lint holds files to. Pure.

Written for lint after the reference of Compose files (docs.docker.com/reference/compose-file) and tried out against
Docker Compose v2.40.3. It is complete where a mistake costs a backup: the top of a file, services with their labels
and mounts, ``extends`` and ``include``, volumes, networks, configs and secrets. Left open, so that lint refuses less
than Compose does: what stands below ``build`` (but for its keys, labels and arguments), ``deploy`` (but for its keys,
labels and replicas), ``develop``, ``provider``, ``gpus``, ``credential_spec``, ``ipam`` and block I/O limits, and the
words and ranges of settings that have nothing to do with mounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

VERSION = "2.40"
"""The Compose that the table was tried out against."""


class Shape(NamedTuple):
    """What a value may be. What is not named here, it may not be.

    Attributes:
        plain: Words for what a scalar may be: text, number, whole (number), flag (yes or no), nothing.
        each: What the elements of a list are; None where no list may stand.
        once: Whether no element may stand in a list twice.
        keys: What stands under the keys of a mapping that are known.
        rest: What stands under other keys; None where there are no others.
        mapping: Whether a mapping may stand here.
        own: Whether keys of people's own (``x-…``) may stand in the mapping.
        needs: Keys that must stand in the mapping.
        names: What the other keys must match; empty for anything.
        like: What a text must match; empty for any text.
        becomes: What Compose makes of a text here, in quotes or out of a variable: whole, number or flag.
    """

    plain: tuple[str, ...] = ()
    each: Shape | None = None
    once: bool = False
    keys: Mapping[str, Shape] = {}
    rest: Shape | None = None
    mapping: bool = False
    own: bool = True
    needs: tuple[str, ...] = ()
    names: str = ""
    like: str = ""
    becomes: str = ""


def _mapping(keys: Mapping[str, Shape], *plain: str, needs: tuple[str, ...] = (), own: bool = True) -> Shape:
    return Shape(plain, keys=keys, mapping=True, needs=needs, own=own)


def _named(shape: Shape) -> Shape:
    """Return a mapping from names that Compose takes for one of a service or a volume."""
    return Shape(rest=shape, mapping=True, names="[a-zA-Z0-9._-]+")


def _one_of(*words: str) -> Shape:
    return Shape(("text",), like="|".join(words))


def _or_text(shape: Shape) -> Shape:
    return shape._replace(plain=("text", *shape.plain))


ANYTHING = Shape(("anything",))
TEXT = Shape(("text",))
NUMBER = Shape(("number", "text"))
WHOLE = Shape(("whole", "text"))
FLAG = Shape(("flag", "text"), becomes="flag")
TO_NUMBER = NUMBER._replace(becomes="number")
NUMBER_TO_WHOLE = NUMBER._replace(becomes="whole")
TO_WHOLE = WHOLE._replace(becomes="whole")
LIST = Shape(each=TEXT)
TEXTS = Shape(each=TEXT, once=True)
TEXT_OR_LIST = _or_text(TEXTS)
COMMAND = Shape(("text", "nothing"), each=TEXT)
PAIRS = Shape(each=TEXT, once=True, rest=Shape(("text", "number", "flag", "nothing")), mapping=True)
OPTIONS = Shape(rest=NUMBER, mapping=True)
OPEN = Shape(rest=ANYTHING, mapping=True)
OPEN_LIST = Shape(each=ANYTHING)

MOUNT = _mapping(
    {
        "type": _one_of("bind", "cluster", "image", "npipe", "tmpfs", "volume"),
        "source": TEXT,
        "target": TEXT,
        "read_only": FLAG,
        "consistency": TEXT,
        "bind": _mapping(
            {
                "create_host_path": FLAG,
                "propagation": TEXT,
                "recursive": _one_of("disabled", "enabled", "readonly", "writable"),
                "selinux": _one_of("Z", "z"),
            }
        ),
        "volume": _mapping({"labels": PAIRS, "nocopy": FLAG, "subpath": TEXT}),
        "tmpfs": _mapping({"size": WHOLE, "mode": NUMBER}),
        "image": _mapping({"subpath": TEXT}),
    },
    "text",
    needs=("type",),
)
GRANTS = Shape(
    each=_mapping({"source": TEXT, "target": TEXT, "uid": TEXT, "gid": TEXT, "mode": NUMBER}, "text")
)
"""The configs and the secrets that a service is given."""

BUILD = _mapping(
    {
        **dict.fromkeys(
            ("context", "dockerfile", "dockerfile_inline", "isolation", "network", "target"), TEXT
        ),
        **dict.fromkeys(("args", "labels", "additional_contexts"), PAIRS),
        **dict.fromkeys(("cache_from", "cache_to", "entitlements", "platforms"), LIST),
        "tags": TEXTS,
        **dict.fromkeys(("no_cache", "privileged", "pull"), FLAG),
        **dict.fromkeys(
            ("extra_hosts", "provenance", "sbom", "secrets", "shm_size", "ssh", "ulimits"), ANYTHING
        ),
    },
    "text",
)
DEPLOY = _mapping(
    {
        "endpoint_mode": TEXT,
        "labels": PAIRS,
        "mode": TEXT,
        "replicas": TO_WHOLE,
        **dict.fromkeys(
            ("placement", "resources", "restart_policy", "rollback_config", "update_config"), OPEN
        ),
    },
    "nothing",
)
HEALTHCHECK = _mapping(
    {
        "disable": FLAG,
        "interval": TEXT,
        "retries": NUMBER_TO_WHOLE,
        "start_interval": TEXT,
        "start_period": TEXT,
        "test": _or_text(LIST),
        "timeout": TEXT,
    }
)
HOOKS = Shape(
    each=_mapping(
        {"command": COMMAND, "environment": PAIRS, "privileged": FLAG, "user": TEXT, "working_dir": TEXT},
        needs=("command",),
    )
)
JOINED = _mapping(
    {
        "aliases": LIST,
        "driver_opts": OPTIONS,
        "gw_priority": Shape(("number",)),
        "interface_name": TEXT,
        "ipv4_address": TEXT,
        "ipv6_address": TEXT,
        "link_local_ips": LIST,
        "mac_address": TEXT,
        "priority": Shape(("number",)),
    },
    "nothing",
)
"""How a service is in a network."""

_PORT = dict.fromkeys(("app_protocol", "host_ip", "mode", "name", "protocol"), TEXT)
PORTS = Shape(each=_mapping({**_PORT, "published": WHOLE, "target": TO_WHOLE}, "number", "text"), once=True)
_STATES = ("service_completed_successfully", "service_healthy", "service_started")
WAITS = _mapping(
    {"condition": _one_of(*_STATES), "required": Shape(("flag",)), "restart": FLAG},
    needs=("condition",),
)

# Compose passes over keys that it does not know here and in an include.
EXTENDS = Shape(
    ("text",),
    keys={"file": Shape(("text", "nothing")), "service": TEXT},
    rest=ANYTHING,
    mapping=True,
    needs=("service",),
)

SERVICE = _mapping(
    {
        "annotations": PAIRS,
        "attach": FLAG,
        "blkio_config": OPEN,
        "build": BUILD,
        "cap_add": TEXTS,
        "cap_drop": TEXTS,
        "cgroup": TEXT,
        "cgroup_parent": TEXT,
        "command": COMMAND,
        "configs": GRANTS,
        "container_name": TEXT._replace(like="[a-zA-Z0-9][a-zA-Z0-9_.-]+"),
        "cpu_count": TO_WHOLE,
        "cpu_percent": TO_NUMBER,
        "cpu_period": NUMBER_TO_WHOLE,
        "cpu_quota": NUMBER_TO_WHOLE,
        "cpu_rt_period": NUMBER_TO_WHOLE,
        "cpu_rt_runtime": NUMBER_TO_WHOLE,
        "cpu_shares": NUMBER_TO_WHOLE,
        "cpus": TO_NUMBER,
        "cpuset": TEXT,
        "credential_spec": OPEN,
        "depends_on": Shape(each=TEXT, once=True, rest=WAITS, mapping=True),
        "deploy": DEPLOY,
        "develop": OPEN._replace(plain=("nothing",)),
        "device_cgroup_rules": TEXTS,
        "devices": Shape(each=_mapping({"permissions": TEXT, "source": TEXT, "target": TEXT}, "text")),
        "dns": TEXT_OR_LIST,
        "dns_opt": TEXTS,
        "dns_search": TEXT_OR_LIST,
        "domainname": TEXT,
        "entrypoint": COMMAND,
        "env_file": Shape(
            ("text",),
            each=_mapping(
                {"format": TEXT, "path": TEXT, "required": FLAG}, "text", needs=("path",), own=False
            ),
        ),
        "environment": PAIRS,
        "expose": Shape(each=NUMBER),
        "extends": EXTENDS,
        "external_links": TEXTS,
        "extra_hosts": Shape(each=TEXT, once=True, rest=_or_text(LIST), mapping=True),
        "gpus": _or_text(OPEN_LIST),
        "group_add": Shape(each=NUMBER, once=True),
        "healthcheck": HEALTHCHECK,
        "hostname": TEXT,
        "image": TEXT,
        "init": FLAG,
        "ipc": TEXT,
        "isolation": TEXT,
        "label_file": _or_text(LIST),
        "labels": PAIRS,
        "links": TEXTS,
        "logging": _mapping({"driver": TEXT, "options": Shape(rest=NUMBER, mapping=True)}),
        "mac_address": TEXT,
        "mem_limit": NUMBER,
        "mem_reservation": WHOLE,
        "mem_swappiness": WHOLE,
        "memswap_limit": NUMBER,
        "models": Shape(each=TEXT, once=True, rest=OPEN, mapping=True),
        "network_mode": TEXT,
        "networks": Shape(each=TEXT, once=True, rest=JOINED, mapping=True),
        "oom_kill_disable": FLAG,
        "oom_score_adj": TO_WHOLE,
        "pid": Shape(("text", "nothing")),
        "pids_limit": NUMBER_TO_WHOLE,
        "platform": TEXT,
        "ports": PORTS,
        "post_start": HOOKS,
        "pre_stop": HOOKS,
        "privileged": FLAG,
        "profiles": TEXTS,
        "provider": OPEN,
        "pull_policy": TEXT,
        "pull_refresh_after": TEXT,
        "read_only": FLAG,
        "restart": TEXT,
        "runtime": TEXT,
        "scale": TO_WHOLE,
        "secrets": GRANTS,
        "security_opt": TEXTS,
        "shm_size": NUMBER,
        "stdin_open": FLAG,
        "stop_grace_period": TEXT,
        "stop_signal": TEXT,
        "storage_opt": OPEN,
        "sysctls": PAIRS,
        "tmpfs": TEXT_OR_LIST,
        "tty": FLAG,
        "ulimits": Shape(
            rest=_mapping(
                {"hard": TO_WHOLE, "soft": TO_WHOLE}, "whole", "text", needs=("soft", "hard")
            )._replace(becomes="whole"),
            mapping=True,
        ),
        "use_api_socket": Shape(("flag",)),
        "user": TEXT,
        "userns_mode": TEXT,
        "uts": TEXT,
        "volumes": Shape(each=MOUNT, once=True),
        "volumes_from": TEXTS,
        "working_dir": TEXT,
    }
)

EXTERNAL = Shape(("flag", "text"), keys={"name": TEXT}, mapping=True, becomes="flag")
VOLUME = _mapping(
    {"driver": TEXT, "driver_opts": OPTIONS, "external": EXTERNAL, "labels": PAIRS, "name": TEXT}, "nothing"
)
NETWORK = _mapping(
    {
        "driver": TEXT,
        "driver_opts": OPTIONS,
        **dict.fromkeys(("attachable", "enable_ipv4", "enable_ipv6", "internal"), FLAG),
        "external": EXTERNAL,
        "ipam": OPEN,
        "labels": PAIRS,
        "name": TEXT,
    },
    "nothing",
)
_GIVEN = {
    **dict.fromkeys(("environment", "file", "name", "template_driver"), TEXT),
    "external": EXTERNAL._replace(rest=ANYTHING),
    "labels": PAIRS,
}
CONFIG = _mapping({**_GIVEN, "content": TEXT})
SECRET = _mapping({**_GIVEN, "driver": TEXT, "driver_opts": OPTIONS})
MODEL = _mapping(
    {"context_size": Shape(("whole",)), "model": TEXT, "name": TEXT, "runtime_flags": LIST}, needs=("model",)
)
_MAYBE_TEXTS = Shape(("text", "nothing"), each=TEXT)
INCLUDE = Shape(
    ("text", "nothing"),
    keys={
        "env_file": _MAYBE_TEXTS,
        "path": _MAYBE_TEXTS,
        "project_directory": Shape(("text", "whole", "nothing")),
    },
    rest=ANYTHING,
    mapping=True,
)

FILE = _mapping(
    {
        "configs": _named(CONFIG),
        "include": Shape(each=INCLUDE),
        "models": Shape(rest=MODEL, mapping=True),
        "name": TEXT,
        "networks": Shape(rest=NETWORK, mapping=True),
        "secrets": _named(SECRET),
        "services": _named(SERVICE),
        "version": TEXT,
        "volumes": _named(VOLUME),
    }
)
