"""The deployment in pictures of the console, as after some weeks of use. States that only time
would produce are written directly to its database."""

import contextlib
import math
import sqlite3
import time

from browser import BOTH, Runway

HOUR, DAY = 3600_000, 86400_000


class Exhibit(Runway):
    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        put, post = (lambda path, body, method=method: self.server.admin(method, path, body) for method in ("PUT", "POST"))
        for name, about in [("documents:read", "Read documents"), ("documents:sign", "Sign documents"), ("reports:export", "Export reports")]:
            put(f"/permissions/{name}", {"assignable_to": BOTH + ["service_client"], "description": about})
        put("/roles/analyst", {"permissions": ["documents:read", "reports:export"], "description": "Reads, and exports what was read"})
        for organization in ["globex", "initech", "tyrell"]:
            put(f"/organizations/{organization}", {"name": organization.title()})
        for user, organization in [("fay", "globex"), ("gus", "initech"), ("ida", "tyrell")]:
            put(f"/users/{user}", {"profile": {"name": user.title(), "email": f"{user}@example.com"}})
            put(f"/organizations/{organization}/members/{user}", {"roles": ["analyst"]})
        client = post("/service-clients", {"name": "search indexer", "permissions": ["projects:read", "documents:read"]})
        post("/access-records", {"name": "Contracts", "organization_id": "acme", "principals": [{"type": "user", "id": "ada"}], "statements": [{"roles": ["analyst"], "resources": ["/documents/contracts/*"]}]})
        post("/audiences", {"identifier": "https://documents.example", "token_ttl": "5m"})
        post("/webhooks", {"url": "http://127.0.0.1:2049/audit", "description": "Audit to SIEM"})
        self.keys = [self.key(name, {"type": "organization", "id": owner}) for name, owner in [("terraform", "globex"), ("crm bridge", "initech"), ("import job", "tyrell"), ("backup", "umbrella")]]
        self.keys += [self.key("indexer", {"type": "service_client", "id": client["id"]}), self.key("laptop", {"type": "user", "id": "ida", "organization_id": "tyrell"}, permissions=[])]
        self.a_few_keys()
        post(f"/api-keys/{self.keys[1]['id']}/suspend", None)
        post(f"/api-keys/{self.keys[2]['id']}/revoke", None)
        post(f"/api-keys/{self.keys[0]['id']}/rotate", {"grace": "24h"})
        for key in self.keys[:1] + self.keys[3:]:
            self.swap(key["value"])
        self.a_few_weeks()

    def a_few_weeks(self):
        """Adds exchanges by day and night, and a signing key that was activated a while ago."""
        self.rotate_when_possible()
        now = int(time.time() * 1000)
        counts = []
        for hour in range(1, 24 * 7):
            busy = 1 + math.cos((hour % 24) / 24 * 2 * math.pi)
            counts += [(now // HOUR - hour, result, int(busy * part) + 1) for result, part in [("granted", 900), ("expired", 18), ("unknown", 9), ("revoked", 5), ("scope", 3)]]
        shifts = [("retiring", 60, "activated_at", 59), ("retiring", 60, "retired_at", 0), ("active", 40, "activated_at", 0)]
        with contextlib.closing(self.connect()) as database:
            mark = "?" if isinstance(database, sqlite3.Connection) else "%s"
            cursor = database.cursor()
            cursor.executemany(f"INSERT INTO exchange_counts (hour, result, exchanges) VALUES ({mark}, {mark}, {mark})", counts)
            for state, published, column, days in shifts:
                at = now - days * DAY - 20 * 60_000
                cursor.execute(f"UPDATE signing_keys SET published_at = {mark}, {column} = {mark} WHERE state = {mark}", [now - published * DAY, at, state])
            key = self.keys[3]["id"]
            days = [(key, now // DAY - day, 40 + 35 * ((day * 7) % 5)) for day in range(1, 30)]
            cursor.executemany(f"INSERT INTO key_usage (key_id, day, uses) VALUES ({mark}, {mark}, {mark})", days)
            database.commit()
            cursor.execute("SELECT kid FROM signing_keys WHERE state IN ('active', 'retiring')")
            altered = [kid for kid, in cursor.fetchall()]
        for kid in altered:
            self.server.command("integrity", "accept", "signing_keys", kid)
        # Waits until the server has refreshed its data.
        time.sleep(3)

    def rotate_when_possible(self):
        for _ in range(40):
            try:
                return self.server.admin("POST", "/signing-keys/rotate", {})
            except AssertionError:
                time.sleep(0.5)
        raise AssertionError("the next signing key may still not sign")
