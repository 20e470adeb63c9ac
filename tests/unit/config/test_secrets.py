"""Which strings of a config.json are masked in every log line and in the diff."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.config.secrets import secrets_of
from sidecar.merge.diff import MASK, masked_plan

SYNC: dict[str, Any] = {
    "identity": {"keyId": "open-id", "ed25519priv": "private-key"},
    "knownHosts": [{"instanceId": "open-peer", "initialPairingSecret": "pairing-secret"}],
    "pairingTokens": [
        {
            "secret": "token-secret",
            "label": "open-label",
            "permissions": [{"type": "PERMISSION_READ_CONFIG", "scopes": ["open-scope"]}],
        }
    ],
}


@pytest.mark.parametrize("spelling", ["sync", "multihost"])
def test_keys_and_tokens_of_peers_in_either_spelling(spelling: str) -> None:
    assert set(secrets_of({spelling: SYNC})) == {"private-key", "pairing-secret", "token-secret"}


def test_ids_of_peers_are_open_in_either_spelling() -> None:
    peer = {"instance_id": "open-peer", "keyid": "open-id", "instance_url": "http://open"}
    assert set(
        secrets_of({"multihost": {"known_hosts": [{**peer, "initial_pairing_secret": "s3cret"}]}})
    ) == {"s3cret"}


@pytest.mark.parametrize(
    ("hook", "hidden"),
    [
        ({"actionCommand": {"command": "docker stop x"}}, set()),
        ({"action_command": {"command": "docker stop x", "later": "s3cret"}}, {"s3cret"}),
        ({"actionWebhook": {"webhookUrl": "s3cret", "method": "POST", "template": "text"}}, {"s3cret"}),
        (
            {"action_gotify": {"base_url": "s3cret", "title_template": "the title", "priority": 5}},
            {"s3cret"},
        ),
        (
            {"actionGotify": {"baseUrl": "s3cret", "titleTemplate": "the title", "template": "text"}},
            {"s3cret"},
        ),
        ({"actionLater": {"command": "s3cret"}}, {"s3cret"}),
        ({"actionSlack": "s3cret"}, {"s3cret"}),
    ],
)
def test_log_and_diff_agree_on_what_a_hook_may_show(hook: dict[str, Any], hidden: set[str]) -> None:
    assert set(secrets_of({"plans": [{"id": "a", "hooks": [hook]}]})) == hidden
    shown = masked_plan({"id": "a", "hooks": [hook]})["hooks"][0]
    ((_, was),) = hook.items()
    ((_, now),) = shown.items()
    if isinstance(was, str):
        assert now == MASK
    else:
        masked = {was[field] for field in was if now[field] == MASK}
        assert masked == hidden
        assert {field: now[field] for field in was if was[field] not in hidden} == {
            field: was[field] for field in was if was[field] not in hidden
        }
