"""The programs of examples/verify, which the README shows."""

import os
import subprocess
import sys

import pytest

from conftest import SNIPPETS
from keyswap import ALGORITHMS

# What each of them can verify: Debian's ruby-jwt knows no JWK of Ed25519.
SUPPORTED = {
    "python": set(ALGORITHMS),
    "node": set(ALGORITHMS),
    "go": set(ALGORITHMS),
    "ruby": set(ALGORITHMS) - {"EdDSA"},
    # Needs cargo, which these tests do without: they take it compiled, where it is.
    **({"rust": set(ALGORITHMS)} if "KEYSWAP_RUST_EXAMPLE" in os.environ else {}),
}
# As long as verifiers may be lenient.
LEEWAY = 60


@pytest.fixture(scope="module")
def commands(scripts, go_build):
    return {
        "python": [sys.executable, SNIPPETS / "python.py"],
        "node": ["node", scripts / "node.mjs"],
        "go": [go_build(SNIPPETS / "go.go")],
        "ruby": ["ruby", SNIPPETS / "ruby.rb"],
        "rust": [os.environ.get("KEYSWAP_RUST_EXAMPLE")],
    }


def run(command, issuer, audience, token):
    done = subprocess.run([*command, issuer, audience, token], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("language", SUPPORTED)
def test_verifies(server, commands, language):
    token = server.exchange(scope="projects:read", audience=server.resource)["access_token"]
    code, out, error = run(commands[language], server.issuer, server.resource, token)
    if server.algorithm in SUPPORTED[language]:
        assert (code, out) == (0, f"{server.client_id} projects:read\n"), error
    else:
        assert (code, out) == (1, "")
        assert "refused" in error


@pytest.mark.parametrize("language", SUPPORTED)
def test_verifies_for_an_issuer_with_a_path(server_with_path, commands, language):
    token = server_with_path.exchange()["access_token"]
    code, out, error = run(commands[language], server_with_path.issuer, server_with_path.issuer, token)
    assert code == 0, error
    assert out.split()[0] == server_with_path.client_id


@pytest.mark.parametrize("language", SUPPORTED)
@pytest.mark.parametrize("what", ["tampered", "wrong audience", "expired", "another issuer"])
def test_refuses(one_server, server_with_path, commands, language, what):
    token, audience = one_server.exchange()["access_token"], one_server.issuer
    header, payload, signature = token.split(".")
    match what:
        case "tampered":
            token = f"{header}.{payload}.{signature[::-1]}"
        case "wrong audience":
            audience = one_server.resource
        case "expired":
            token = one_server.expired_token(LEEWAY)
        case "another issuer":
            token = server_with_path.exchange(audience=one_server.resource)["access_token"]
            audience = one_server.resource
    code, out, error = run(commands[language], one_server.issuer, audience, token)
    assert (code, out) == (1, ""), error
