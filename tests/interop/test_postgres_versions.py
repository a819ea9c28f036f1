"""Each supported major version of PostgreSQL, with binaries from npm: keys, a rotation, a revocation
and the migrations."""

import contextlib
import json
import os
import pathlib
import platform
import shutil
import tempfile

import psycopg
import pytest
import requests

from conftest import CACHE
from keyswap import Server
from ports import reserve_port
from processes import run

MAJORS = range(13, 19)

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the packages are for x86-64")


@contextlib.contextmanager
def postgres(major):
    """The URL of a database on a temporary server of this major version."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="keyswap-pg."))
    try:
        program = CACHE / "node" / "node_modules" / f"postgres-{major}" / "native"
        as_user = []
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root, and other users may not see the cache.
            program = shutil.copytree(program, directory / "native", symlinks=True)
            run(["chown", "-R", "postgres", directory], check=True)
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data, port = directory / "data", reserve_port()

        def execute(name, *words):
            run([*as_user, program / "bin" / name, "-D", data, *words], check=True, cwd=directory)

        execute("initdb", "-U", "keyswap", "-A", "trust", "--no-locale", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory}"
        execute("pg_ctl", "-w", "-l", directory / "log", "-o", options, "start")
        try:
            yield f"postgres://keyswap@127.0.0.1:{port}/postgres"
        finally:
            execute("pg_ctl", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(directory)


def exchange(server, key):
    headers = {"Authorization": f"Bearer {key}"}
    return requests.post(server.issuer + "/v1/exchange", headers=headers, timeout=10).status_code


@pytest.mark.parametrize("major", MAJORS)
def test_keys_work(binary, tmp_path, major):
    with postgres(major) as url:
        with psycopg.connect(url) as connection:
            assert connection.info.server_version // 10_000 == major
        server = Server(binary, tmp_path, url, "ES256")
        try:
            key = server.new_key()
            assert exchange(server, key["value"]) == 200
            rotated = server.admin("POST", f"/api-keys/{key['id']}/rotate", {"grace": "1h"})
            assert [exchange(server, one["value"]) for one in (key, rotated)] == [200, 200]
            server.admin("POST", f"/api-keys/{key['id']}/revoke")
            assert [exchange(server, one["value"]) for one in (key, rotated)] == [401, 401]
            assert json.loads(server.command("migrate", "--status", "--json").stdout)["pending"] == []
            server.command("doctor")
        finally:
            server.stop()
