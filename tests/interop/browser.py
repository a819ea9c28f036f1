"""Chromium, and a host application whose users it represents."""

import contextlib
import datetime
import functools
import os
import pathlib
import sqlite3
import subprocess
import sys
import time
import uuid

import psycopg
import requests

from keyswap import Server
from ports import reserve_port
from processes import Program, run

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "widget" / "product.py"
CHROMIUM = os.environ.get("KEYSWAP_CHROMIUM", "/usr/bin/chromium")
# `FLAGS` lets Chromium run as root in a container and disables its background requests. `NOT`
# removes a default of Playwright, because the browsers of users keep a page that was left.
NOT = ["--disable-back-forward-cache"]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ORGANIZATION_KEYS = {"type": "organization", "id": "acme"}
BOTH = ["user", "organization"]


class Runway:
    """The host application. `ada` manages all keys at acme and has her own, `bob` has his own,
    `cyd` has no management permissions, and `eve` manages umbrella."""

    def __init__(self, binary, directory, database_url, **settings):
        self.database_url = database_url
        self.port = reserve_port()
        self.origin = f"http://localhost:{self.port}"
        more = {"portal.allowed_origins": f'["{self.origin}"]', **settings}
        self.server = Server(binary, directory, database_url, "ES256", more=more)
        # Chromium accepts secure cookies without TLS from the name `localhost`.
        self.root = self.server.root.replace("127.0.0.1", "localhost")
        put = lambda path, body: self.server.admin("PUT", path, body)
        put("/permissions/projects:read", {"assignable_to": BOTH + ["service_client"], "description": "See projects"})
        put("/permissions/projects:write", {"assignable_to": BOTH + ["service_client"], "description": "Change projects"})
        put("/permissions/billing:read", {"assignable_to": ["user"]})
        managed = ["api-keys:manage", "user-api-keys:manage-self", "user-api-keys:manage-all"]
        for permission in managed:
            put(f"/permissions/{permission}", {"assignable_to": ["user", "organization", "service_client"]})
        put("/roles/admin", {"permissions": [*managed, "projects:read", "projects:write"]})
        put("/roles/engineer", {"permissions": ["user-api-keys:manage-self", "projects:read"]})
        put("/roles/guest", {"permissions": ["projects:read"]})
        for organization in ["acme", "umbrella"]:
            put(f"/organizations/{organization}", {"name": organization.title()})
        for user, organization, role in [
            ("ada", "acme", "admin"),
            ("bob", "acme", "engineer"),
            ("cyd", "acme", "guest"),
            ("eve", "umbrella", "admin"),
        ]:
            self.join(user, organization, role)

    def join(self, user, organization, role):
        self.server.admin("PUT", f"/users/{user}", {})
        self.server.admin("PUT", f"/organizations/{organization}/members/{user}", {"roles": [role]})

    def organization(self, **roles):
        """Creates an organization for one test, with one member per user and role. Returns its id.
        """
        organization = f"acme-{uuid.uuid4().hex[:6]}"
        self.server.admin("PUT", f"/organizations/{organization}", {"name": "Acme"})
        for user, role in roles.items():
            self.join(user, organization, role)
        return organization

    def session(self, user="ada", organization="acme"):
        """The response of `POST /v1/portal-sessions`, with a URL that this browser can open."""
        body = {"user_id": user, "organization_id": organization}
        session = self.server.admin("POST", "/portal-sessions", body)
        return {**session, "url": session["url"].replace(self.server.root, self.root)}

    def key(self, name, owner=None, **more):
        owner = owner or ORGANIZATION_KEYS
        return self.server.admin("POST", "/api-keys", {"name": name, "owner": owner, "permissions": ["projects:read"], **more})

    def a_few_keys(self):
        """Creates the keys that pictures show, as keys of ada for acme, which must have no others.
        """
        token = self.session()["token"]
        soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)).isoformat(timespec="seconds")
        for name, permissions, end in [
            ("metrics reader", ["projects:read"], None),
            ("deploy bot", ["projects:read", "projects:write"], soon),
            ("nightly export", ["projects:read"], None),
        ]:
            body = {"name": name, "owner": {"type": "organization"}, "permissions": permissions, "expires_at": end}
            made = self.as_user(token, "POST", "/api-keys", body)
            assert made.status_code == 201, made.text
        rotated = self.as_user(token, "POST", f"/api-keys/{made.json()['id']}/rotate", {"grace": "24h"})
        assert rotated.status_code == 200, rotated.text

    def wait_until_used(self, key):
        """Waits until the use of a key is recorded, which takes some seconds."""
        deadline = time.monotonic() + 30
        while not self.server.admin("GET", f"/api-keys/{key['id']}")["last_used_at"]:
            assert time.monotonic() < deadline, "the use of the key was not written"
            time.sleep(0.1)

    def crowd(self, count):
        """Creates `count` keys of umbrella. All but the first are copied in the database, because
        creating them through the API would take a minute."""
        owner = {"type": "organization", "id": "umbrella"}
        first = self.key("the first of all", owner)
        keys = lambda number, row: {**row, "id": f"{first['id'][:14]}Z{number:015}", "name": f"key {number}"}
        # The number of a credential is the last ten characters of its id in base 62.
        base62 = lambda digits: functools.reduce(lambda value, digit: value * 62 + int(digit), digits, 0)
        credentials = lambda number, row: {**row, "id": f"crowd{number:011}", "number": base62(f"{number:010}"), "key_id": keys(number, row)["id"], "status_list": None, "status_index": None}
        for table, column, copy in [("api_keys", "id", keys), ("credentials", "key_id", credentials)]:
            with contextlib.closing(self.connect()) as database:
                mark = "?" if isinstance(database, sqlite3.Connection) else "%s"
                cursor = database.cursor()
                cursor.execute(f"SELECT * FROM {table} WHERE {column} = {mark}", [first["id"]])
                row = dict(zip([column[0] for column in cursor.description], cursor.fetchone()))
                insert = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join([mark] * len(row))})"
                cursor.executemany(insert, [list(copy(number, row).values()) for number in range(1, count)])
                database.commit()

    def age(self, keys, days):
        """Moves the creation time of keys back by a number of days."""
        with contextlib.closing(self.connect()) as database:
            mark = "?" if isinstance(database, sqlite3.Connection) else "%s"
            statement = f"UPDATE api_keys SET created_at = created_at - {mark} WHERE id = {mark}"
            database.cursor().executemany(statement, [(days * 86_400_000, key) for key in keys])
            database.commit()

    def connect(self):
        if self.database_url.startswith("sqlite://"):
            database = sqlite3.connect(self.database_url.removeprefix("sqlite://"), timeout=30)
            # Without this, Python's SQLite, if older than that of Keyswap, opens no database with a
            # view that it does not understand.
            database.execute("PRAGMA writable_schema = ON")
            return database
        return psycopg.connect(self.database_url)

    def swap(self, value):
        """The status of an exchange with curl."""
        url = self.server.root + "/v1/exchange"
        command = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "-X", "POST", url, "-H", "Authorization: Bearer " + value]
        return int(run(command, timeout=20, check=True).stdout)

    @contextlib.contextmanager
    def settings_page(self, user="ada", organization="acme"):
        """Runs the sample application as its README does, and yields the URL of its settings page.
        """
        environment = {**os.environ, "KEYSWAP": self.root, "KEYSWAP_KEY": self.server.admin_key}
        words = [sys.executable, EXAMPLE, "--user", user, "--organization", organization, "--port", str(self.port)]
        product = Program(words, env=environment, stderr=subprocess.DEVNULL)
        try:
            yield product.read_line()
        finally:
            product.end()

    def as_user(self, token, method, path, body=None):
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{self.server.root}/v1{path}", json=body, headers=headers, timeout=10)


def reload_until(page, is_shown, within=30):
    """Reloads the page until it shows a value that is written some seconds later."""
    deadline = time.monotonic() + within
    while not is_shown():
        assert time.monotonic() < deadline, f"not shown within {within} s"
        page.wait_for_timeout(250)
        page.reload()


def until(page, expression):
    """Waits until an expression is true. Playwright's own function evaluates a string repeatedly in
    the page, which the content security policy forbids."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(expression)


class Console:
    """The operator console, as operated by a user."""

    def __init__(self, runway, page):
        self.runway, self.page = runway, page
        self.dialog = page.get_by_role("dialog")

    def enter(self, key=None):
        self.page.goto(self.runway.root + "/console")
        self.page.get_by_label("API key").fill(key or self.runway.server.admin_key)
        self.page.get_by_role("button", name="Sign in").click()
        self.settled()
        return self

    def go(self, view):
        self.page.goto(f"{self.runway.root}/console#/{view}")
        self.settled()

    def settled(self):
        self.page.locator(".page[aria-busy=false]").wait_for()

    def said(self, text):
        self.page.get_by_role("status").filter(has_text=text).wait_for()

    def row(self, name):
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=name))

    def press(self, name, exact=False):
        """Clicks a button of the dialog if one is open, or else of the page."""
        within = self.dialog if self.dialog.count() else self.page
        within.get_by_role("button", name=name, exact=exact).click()

    def confirm(self, word, button):
        self.dialog.get_by_role("textbox").fill(word)
        self.press(button)
        self.dialog.wait_for(state="detached")


class Shown:
    """The keys on a page, as operated by a user."""

    def __init__(self, page):
        self.page = page
        self.dialog = page.get_by_role("dialog")

    def row(self, name):
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=name, exact=True))

    def create(self, name, permissions=("projects:read",), description=""):
        """Creates a key and returns its value. The dialog with the value stays open."""
        self.page.get_by_role("button", name="Create API key").click()
        self.dialog.get_by_label("Name").fill(name)
        self.dialog.get_by_label("Description").fill(description)
        for permission in permissions:
            self.dialog.get_by_role("checkbox", name=permission).check()
        self.dialog.get_by_role("button", name="Create API key").click()
        return self.value()

    def value(self):
        return self.dialog.get_by_label("Key", exact=True).inner_text()

    def keep(self):
        self.dialog.get_by_role("button", name="Done").click()
        self.dialog.wait_for(state="detached")

    def act(self, what, name):
        self.row(name).get_by_role("button", name=f"{what} {name}").click()

    def rotate(self, name, grace="After 1 day"):
        self.act("Rotate", name)
        self.dialog.get_by_label("Old value stops working").select_option(label=grace)
        self.dialog.get_by_role("button", name="Rotate key").click()
        self.dialog.get_by_role("heading", name="Copy your API key").wait_for()
        return self.value()

    def confirm(self, button):
        self.dialog.get_by_role("button", name=button).click()
        self.dialog.wait_for(state="detached")

    def suspend(self, name):
        self.act("Suspend", name)
        self.confirm("Suspend key")

    def revoke(self, name):
        self.act("Revoke", name)
        self.dialog.get_by_role("textbox").fill(name)
        self.confirm("Revoke key")

    def show(self, label):
        self.page.get_by_label("Show").select_option(label=label)
