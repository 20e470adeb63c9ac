"""The rest of Backrest's config messages: repos, users, peers, the document. See :mod:`sidecar.config.protojson`."""

from __future__ import annotations

from sidecar.config.protojson import (
    BOOL,
    DOUBLE,
    HOOK,
    INT32,
    INT64,
    RETENTION,
    SCHEDULE,
    STRING,
    Enum,
    Many,
    Message,
)

_TEXTS = Many(STRING)

REPO = Message(
    {
        "id": STRING,
        "uri": STRING,
        "guid": STRING,
        "password": STRING,
        "env": _TEXTS,
        "flags": _TEXTS,
        "prunePolicy prune_policy": Message(
            {
                "schedule": SCHEDULE,
                "maxUnusedBytes max_unused_bytes": INT64,
                "maxUnusedPercent max_unused_percent": DOUBLE,
            }
        ),
        "checkPolicy check_policy": Message(
            {
                "schedule": SCHEDULE,
                "structureOnly structure_only": BOOL,
                "readDataSubsetPercent read_data_subset_percent": DOUBLE,
            },
            ("structureOnly", "readDataSubsetPercent"),
        ),
        "hooks": Many(HOOK),
        "autoUnlock auto_unlock": BOOL,
        "autoInitialize auto_initialize": BOOL,
        "commandPrefix command_prefix": Message(
            {
                "ioNice io_nice": Enum(
                    {"IO_DEFAULT": 0, "IO_BEST_EFFORT_LOW": 1, "IO_BEST_EFFORT_HIGH": 2, "IO_IDLE": 3}
                ),
                "cpuNice cpu_nice": Enum({"CPU_DEFAULT": 0, "CPU_HIGH": 1, "CPU_LOW": 2}),
            }
        ),
        "shared": BOOL,
        "originInstanceId origin_instance_id": STRING,
        "forgetPolicy forget_policy": Message({"schedule": SCHEDULE, "retention": RETENTION}),
    }
)

AUTH = Message(
    {
        "disabled": BOOL,
        "users": Many(
            Message({"name": STRING, "passwordBcrypt password_bcrypt": STRING}, ("passwordBcrypt",))
        ),
    }
)

_PERMISSIONS = Many(
    Message(
        {
            "type": Enum(
                {
                    "PERMISSION_UNKNOWN": 0,
                    "PERMISSION_READ_OPERATIONS": 1,
                    "PERMISSION_READ_CONFIG": 2,
                    "PERMISSION_READ_WRITE_CONFIG": 3,
                    "PERMISSION_RECEIVE_SHARED_REPOS": 4,
                }
            ),
            "scopes": _TEXTS,
        }
    )
)
_PEERS = Many(
    Message(
        {
            "instanceId instance_id": STRING,
            "keyId keyid": STRING,
            "permissions": _PERMISSIONS,
            "instanceUrl instance_url": STRING,
            "initialPairingSecret initial_pairing_secret": STRING,
        }
    )
)
SYNC = Message(
    {
        "identity": Message({"keyId keyid": STRING, "ed25519priv": STRING, "ed25519pub": STRING}),
        "knownHosts known_hosts": _PEERS,
        "authorizedClients authorized_clients": _PEERS,
        "pairingTokens pairing_tokens": Many(
            Message(
                {
                    "secret": STRING,
                    "label": STRING,
                    "createdAtUnix created_at_unix": INT64,
                    "expiresAtUnix expires_at_unix": INT64,
                    "maxUses max_uses": INT32,
                    "uses": INT32,
                    "permissions": _PERMISSIONS,
                }
            )
        ),
    }
)

TOP = Message(
    {"modno": INT32, "version": INT32, "instance": STRING, "auth": AUTH, "sync multihost": SYNC},
)
"""The document without ``repos`` and ``plans``, which are checked one by one so that each fault has its name."""
