"""Backrest's rules for ``sync``: its own identity and the peers it is paired with.

Source: backrest: internal/config/validate.go:205-289, internal/cryptoutil. That the two halves of the key fit each
other is not computed: this tool never touches them, and the standard library has no Ed25519.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.findings import printable

_KEY_PREFIX = "ed25519."
_KEY_BYTES = 32
_PEER_MAX = 50


def sync_faults(sync: Mapping[str, Any], instance: str, *, legacy_allowed: bool) -> Iterator[str]:
    """Yield what Backrest finds wrong with ``sync``, as the rest of a sentence. Keys are never quoted.

    Args:
        sync: The object, already of the right types.
        instance: The document's instance name, which no peer may have.
        legacy_allowed: The file is below version 6, so that Backrest replaces an identity of the old kind.
    """
    identity = sync.get("identity")
    key_id = ""
    if identity is not None:
        key_id = _text(identity, "keyId", "keyid")
        private, public = _text(identity, "ed25519priv"), _text(identity, "ed25519pub")
        replaced = legacy_allowed and not (key_id.startswith(_KEY_PREFIX) and private and public)
        if replaced:
            key_id = ""
        elif problem := _identity_problem(key_id, private, public):
            yield f"identity {problem}"
            return
    instances, keys = {instance}, {key_id} - {""}
    for names, kind in (
        (("authorizedClients", "authorized_clients"), "client"),
        (("knownHosts", "known_hosts"), "host"),
    ):
        for peer in _first(sync, *names) or ():
            name, key = _text(peer, "instanceId", "instance_id"), _text(peer, "keyId", "keyid")
            where = f'{kind} "{printable(name)}"'
            if problem := _peer_problem(peer, name, key, kind):
                yield f"{where} {problem}"
            if name in instances:
                yield f"{where} has a name that is already used"
            if key in keys:
                yield f"{where} has a key id that is already used"
            instances.add(name)
            keys.add(key)


def _identity_problem(key_id: str, private: str, public: str) -> str:
    if not key_id:
        return "has no keyId"
    if len(_raw_base64(private)) != _KEY_BYTES:
        return "has no valid private key"
    key = _raw_base64(public)
    if len(key) != _KEY_BYTES:
        return "has no valid public key"
    derived = base64.urlsafe_b64encode(hashlib.sha256(key).digest()).rstrip(b"=").decode()
    return "" if key_id == _KEY_PREFIX + derived else "has a keyId that does not belong to its public key"


def _raw_base64(text: str) -> bytes:
    """Decode unpadded standard base64 as Go does, line ends skipped; empty for anything wrong."""
    text = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) if "=" not in text else b""
    except (binascii.Error, ValueError):
        return b""


def _peer_problem(peer: Mapping[str, Any], name: str, key: str, kind: str) -> str:
    if name.startswith("_") and name.endswith("_"):
        return "has a name that starts and ends with '_'"
    if not name:
        return "has no name"
    if len(name.encode()) > _PEER_MAX:
        return f"has a name longer than {_PEER_MAX} bytes"
    if not key:
        return "has no keyId"
    if kind == "host" and not _text(peer, "instanceUrl", "instance_url"):
        return "has no instanceUrl"
    for permission in peer.get("permissions") or ():
        for scope in permission.get("scopes") or ():
            if not _scope_valid(scope):
                return f'has a permission with the unknown scope "{printable(scope)}"'
    return ""


def _scope_valid(scope: str) -> bool:
    """Source: backrest: internal/api/syncapi/permissions/permissions.go:22-47."""
    prefixes = ("repo:", "plan:", "!repo:", "!plan:")
    return scope == "*" or any(scope.startswith(p) and len(scope) > len(p) for p in prefixes)


def _first(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _text(value: Mapping[str, Any], *names: str) -> str:
    return str(_first(value, *names) or "")
