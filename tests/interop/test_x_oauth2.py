"""Clients that probe: golang.org/x/oauth2 sends Basic credentials first and, after any error,
repeats the request with the credentials in the body."""

import json
import pathlib

import pytest
import requests

from processes import run
from verify import verified


@pytest.fixture(scope="module")
def x_oauth2(go_build):
    program = go_build(pathlib.Path(__file__).parent / "clients" / "x_oauth2.go")

    return lambda server, key: run([program, server.issuer, server.client_id, key, server.audience], timeout=30)


def test_valid_key_takes_one_request(server, x_oauth2):
    before = server.answers()
    done = x_oauth2(server, server.key)
    assert done.returncode == 0, done.stderr
    assert server.answers() - before == 1 + 1  # the metrics request and the token
    verified(server, json.loads(done.stdout), server.audience, ["projects:read"])


def test_invalid_key_costs_two_failures_and_blocks_no_other_client(one_server, x_oauth2):
    before = one_server.answers()
    done = x_oauth2(one_server, one_server.revoked_key)
    assert done.returncode == 1 and "invalid_client" in done.stderr
    assert one_server.answers() - before == 1 + 2
    done = x_oauth2(one_server, one_server.key)
    assert done.returncode == 0, done.stderr


def test_second_attempt_can_succeed(one_server):
    """Ten times a wrong key as Basic credentials, each followed by the right one in the body."""
    for _ in range(10):
        grant = {"grant_type": "client_credentials"}
        wrong = (one_server.client_id, one_server.revoked_key)
        refused = requests.post(one_server.token_url, data=grant, auth=wrong, timeout=10)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
        right = {**grant, "client_id": one_server.client_id, "client_secret": one_server.key}
        granted = requests.post(one_server.token_url, data=right, timeout=10)
        assert granted.status_code == 200, granted.text
        verified(one_server, granted.json())
