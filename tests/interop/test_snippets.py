"""The programs of examples/verify, which docs/guides/verify-tokens.md shows."""

import sys

import pytest

import rust
from conftest import SNIPPETS
from forger import Forger
from keyswap import ALGORITHMS
from processes import run as run_program
from resource_cases import CASES, PERMISSION, WITHOUT, detail
from verify import tampered

# The algorithms that each program supports. Debian's ruby-jwt does not support Ed25519 JWKs.
SUPPORTED = {
    "python": set(ALGORITHMS),
    "node": set(ALGORITHMS),
    "go": set(ALGORITHMS),
    "ruby": set(ALGORITHMS) - {"EdDSA"},
    **({"rust": set(ALGORITHMS)} if rust.WANTED else {}),
}
# The largest permitted leeway of verifiers, in seconds.
LEEWAY = 60


@pytest.fixture(scope="module")
def commands(scripts, go_build):
    return {
        "python": [sys.executable, SNIPPETS / "python.py"],
        "node": ["node", scripts / "node.mjs"],
        "go": [go_build(SNIPPETS / "go.go")],
        "ruby": ["ruby", SNIPPETS / "ruby.rb"],
        **({"rust": [rust.example("verify")]} if rust.WANTED else {}),
    }


def run(command, issuer, audience, token, *wanted):
    done = run_program([*command, issuer, audience, token, *wanted])
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
def test_refuses_another_issuer(server_with_path, commands, language):
    """The server also responds at its root, with the same keys, but the issuer of
    its tokens has a path."""
    audience = server_with_path.resource
    token = server_with_path.exchange(audience=audience)["access_token"]
    code, out, error = run(commands[language], server_with_path.root, audience, token)
    assert (code, out) == (1, ""), error


@pytest.fixture(scope="module")
def forger():
    forger = Forger()
    yield forger
    forger.stop()


FORGED = {
    "nothing wrong": (0, {}),
    "not an access token": (1, {"typ": "JWT"}),
    "no type": (1, {"typ": None}),
    "an algorithm that is not on the list": (1, {"algorithm": "ES512"}),
    "no audience": (1, {"aud": None}),
    "no expiry": (1, {"exp": None}),
    "no issuer": (1, {"iss": None}),
}


@pytest.mark.parametrize("language", SUPPORTED)
@pytest.mark.parametrize("what", FORGED)
def test_refuses_what_keyswap_never_signs(forger, commands, language, what):
    expected, changes = FORGED[what]
    code, out, error = run(commands[language], forger.issuer, forger.audience, forger.token(**changes))
    assert (code, out) == (expected, "svc_1 \n" if expected == 0 else ""), error


@pytest.mark.parametrize("language", SUPPORTED)
def test_checks_the_resource(forger, commands, language):
    """By the locations of the token, whatever its scope is, and refused by default."""

    def is_granted(resource, **changes):
        token = forger.token(scope=PERMISSION, **changes)
        code, out, error = run(commands[language], forger.issuer, forger.audience, token, PERMISSION, resource)
        assert code == 0 or (code == 1 and out == "" and "not granted on the resource" in error), error
        return code == 0

    found = [is_granted(resource, authorization_details=[detail(location)]) for location, resource, _ in CASES]
    wrong = [case for case, granted in zip(CASES, found, strict=True) if granted != case[2]]
    assert not wrong
    assert not any(is_granted("/users/a/1", **changes) for changes in WITHOUT)


@pytest.mark.parametrize("language", SUPPORTED)
@pytest.mark.parametrize("what", ["tampered", "wrong audience", "expired"])
def test_refuses(one_server, commands, language, what):
    """Last in this file, so that an expired token exists and no test waits for it."""
    issuer, audience = one_server.issuer, one_server.resource
    token = one_server.exchange(audience=audience)["access_token"]
    match what:
        case "tampered":
            token = tampered(token)
        case "wrong audience":
            audience = one_server.audience
        case "expired":
            token, audience = one_server.expired_token(LEEWAY), issuer
    code, out, error = run(commands[language], issuer, audience, token)
    assert (code, out) == (1, ""), error
