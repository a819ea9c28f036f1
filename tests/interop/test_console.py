"""The operator console in a browser."""

import re

import jwt
import pytest
import requests
from playwright.sync_api import expect

from browser import Console, Shown, reload_until, until

DATABASE = "postgres"
every_database = pytest.mark.every_database
BOTH = {"assignable_to": ["user", "organization", "service_client"]}


@pytest.fixture
def console(deployment, page):
    return Console(deployment, page).enter()


@every_database
def test_operator_rotates_a_signing_key_from_the_timeline(deployment, console, page):
    kid = lambda: jwt.get_unverified_header(deployment.server.exchange()["access_token"])["kid"]
    before = kid()
    page.get_by_role("link", name="Signing keys").click()
    expect(page.get_by_role("list", name="Timeline").get_by_text(before[:8])).to_be_visible()
    # The next key may sign only after the propagation delay. From then on, the
    # dialog shows the plan.
    for _ in range(20):
        console.press("Rotate now")
        console.dialog.wait_for()
        if console.dialog.get_by_role("button", name="Rotate", exact=True).count():
            break
        expect(console.dialog).to_contain_text("The signing keys cannot be rotated now")
        console.press("Close")
        page.wait_for_timeout(1000)
    plan = console.dialog.get_by_role("listitem")
    successor = re.match(r"(\S+) \(ES256\) signs all new tokens\.", plan.nth(0).inner_text()).group(1)
    expect(plan.nth(1)).to_contain_text(re.compile(rf"{before[:8]} stops signing\. It stays published until .*"))
    assert kid() == before, "a plan changes nothing"
    console.press("Rotate", exact=True)
    console.said(f"{successor} now signs tokens.")
    assert kid()[:8] == successor
    published = requests.get(deployment.server.root + "/.well-known/jwks.json", timeout=10).json()["keys"]
    assert before in [key["kid"] for key in published], "its tokens are still accepted"
    expect(console.row(before[:8])).to_contain_text("Retiring")
    # Another rotation is too early, and the dialog states when it is possible.
    console.press("Rotate now")
    expect(console.dialog).to_contain_text("may sign from")
    console.press("Close")


def test_emergency_revocation_requires_the_key_id_to_be_typed(deployment, console, page):
    console.go("signing-keys")
    row = page.locator("tr:has(.badge.next)").first
    kid = row.locator("th code").inner_text()
    row.get_by_role("button", name="Revoke").click()
    console.press("Revoke signing key")
    expect(console.dialog.get_by_role("alert").first).to_contain_text(kid)
    console.dialog.get_by_role("textbox").fill(kid)
    console.press("Revoke signing key")
    expect(console.dialog).to_contain_text("Tokens may be accepted until")
    console.press("Close")
    expect(console.row(kid)).to_contain_text("Revoked")


# Features: D8, W25.
@every_database
def test_operator_sees_every_key_and_uses_of_old_values(deployment, console, page, name):
    deployment.join("leaver", "acme", "admin")
    token = deployment.session("leaver")["token"]
    made = deployment.as_user(token, "POST", "/api-keys", {"name": name, "permissions": ["projects:read"]}).json()
    requests.delete(f"{deployment.server.root}/v1/users/leaver", headers={"X-API-Key": deployment.server.admin_key}, timeout=10)
    rotated = deployment.server.admin("POST", f"/api-keys/{made['id']}/rotate", {"grace": "1h"})
    assert deployment.swap(made["value"]) == 200
    row = console.row(name)
    console.go("keys?only=old&state=active")

    def is_listed():
        console.settled()
        return row.count()

    reload_until(page, is_listed)
    for text in ["acme", "projects:read", "leaver", "Active", "Old value still in use"]:
        expect(row).to_contain_text(text)
    row.get_by_role("link", name=name).click()
    expect(page.get_by_role("table", name="Values").get_by_role("row").filter(has_text="Old, still in use")).to_have_count(1)
    expect(page.locator(".entries")).to_contain_text("api_key.rotated")
    console.press(f"Revoke {name}")
    console.confirm(name, "Revoke")
    console.said("was revoked")
    assert [deployment.swap(value) for value in (made["value"], rotated["value"])] == [401, 401]


# Features: D8.
def test_unused_old_value_is_distinguished(deployment, console, page, name):
    made = deployment.key(name)
    assert deployment.swap(made["value"]) == 200
    deployment.wait_until_used(made)
    deployment.server.admin("POST", f"/api-keys/{made['id']}/rotate", {"grace": "1h"})
    console.go(f"keys/{made['id']}")
    expect(page.get_by_role("table", name="Values")).to_contain_text("Old, not used since the rotation")
    console.go("keys?only=old&state=active")
    expect(console.row(name)).to_have_count(0)


def test_key_of_any_owner_is_created_and_shown_once(deployment, console, page, name):
    console.go("keys")
    console.press("Create API key")
    console.dialog.get_by_label("Name", exact=True).fill(name)
    console.dialog.get_by_label("Description").fill("Pushes the nightly reports")
    console.dialog.get_by_label("Owner", exact=True).select_option("organization")
    console.dialog.get_by_label("Owner ID").fill("acme")
    console.dialog.get_by_role("checkbox", name="projects:read").check()
    console.press("Create", exact=True)
    value = Shown(page).value()
    assert deployment.swap(value) == 200
    # Navigation does not leave a dialog with a secret.
    page.go_back()
    expect(console.dialog).to_be_visible()
    console.press("Done")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("Pushes the nightly reports")).to_be_visible()
    console.press("Edit")
    console.dialog.get_by_label("Description").fill("")
    console.press("Save")
    console.said("was saved")
    expect(page.get_by_text("Pushes the nightly reports")).to_have_count(0)
    console.press(f"Suspend {name}")
    console.press("Suspend key")
    console.said("was suspended")
    assert deployment.swap(value) == 401
    console.press(f"Resume {name}")
    console.press("Resume key")
    console.said("was resumed")
    assert deployment.swap(value) == 200


# Features: A6, D2, D3.
def test_permissions_and_roles_are_managed(deployment, console, page, name):
    permission, role = (f"{kind}:{name[-6:]}" for kind in ("reports", "role"))
    console.go("permissions")
    console.press("Create permission")
    console.dialog.get_by_label("Name", exact=True).fill(permission)
    console.dialog.get_by_role("checkbox", name="organization").check()
    console.press("Create", exact=True)
    console.said("was created")
    assert deployment.server.admin("GET", f"/permissions/{permission}")["assignable_to"] == ["organization"]
    console.go("roles")
    console.press("Create role")
    console.dialog.get_by_label("Name", exact=True).fill(role)
    console.dialog.get_by_role("checkbox", name=permission).check()
    console.press("Create", exact=True)
    console.said("was created")
    assert deployment.server.admin("GET", f"/roles/{role}")["permissions"] == [permission]
    # Another client changes the role meanwhile: the current state is shown, and
    # nothing is overwritten.
    console.press(f"Edit {role}")
    console.dialog.get_by_label("Description").fill("mine")
    deployment.server.admin("PUT", f"/roles/{role}", {"permissions": [permission], "description": "theirs"})
    console.press("Save")
    console.said("was changed by someone else")
    expect(console.row(role)).to_contain_text("theirs")
    console.press(f"Delete {role}")
    console.confirm(role, "Delete")
    console.said("was deleted")


def test_organizations_members_and_users(deployment, console, page, name):
    organization, user = (f"{kind}-{name[-6:]}" for kind in ("org", "user"))
    console.go("users")
    console.press("Create user")
    console.dialog.get_by_label("ID", exact=True).fill(user)
    console.press("Create", exact=True)
    expect(page.get_by_role("heading", name=user)).to_be_visible()
    console.go("organizations")
    console.press("Create organization")
    console.dialog.get_by_label("ID", exact=True).fill(organization)
    console.dialog.get_by_label("Name", exact=True).fill(name)
    console.press("Create", exact=True)
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    console.press("Add member")
    console.dialog.get_by_label("User ID").fill(user)
    console.dialog.get_by_role("checkbox", name="engineer").check()
    console.press("Create", exact=True)
    console.said("was created")
    owner = {"type": "user", "id": user, "organization_id": organization}
    value = deployment.key("theirs", owner)["value"]
    assert deployment.swap(value) == 200
    console.go(f"users/{user}")
    console.press(f"Block {user}")
    console.press("Block user")
    console.said("was blocked")
    assert deployment.swap(value) == 401
    console.press(f"Unblock {user}")
    console.said("was unblocked")
    assert deployment.swap(value) == 200


def test_service_clients_audiences_records_and_webhooks(deployment, console, page, name):
    console.go("service-clients")
    console.press("Create service client")
    console.dialog.get_by_label("Name", exact=True).fill(name)
    console.dialog.get_by_role("checkbox", name="projects:read").check()
    console.press("Create", exact=True)
    assert deployment.swap(Shown(page).value()) == 200
    console.press("Done")
    console.said("was created")

    console.go("audiences")
    console.press("Create audience")
    identifier = f"https://{name[-6:]}.example"
    console.dialog.get_by_label("Identifier", exact=True).fill(identifier)
    console.press("Create", exact=True)
    console.said("was created")
    assert identifier in [one["identifier"] for one in deployment.server.admin("GET", "/audiences?limit=100")["data"]]

    console.go("access-records")
    console.press("Create access record")
    console.dialog.get_by_label("Name", exact=True).fill(name)
    console.dialog.get_by_label("Principals").fill("user:ada")
    console.dialog.get_by_role("checkbox", name="guest").check()
    console.dialog.get_by_label("Resources").fill("/projects/7")
    console.press("Create", exact=True)
    console.said("was created")

    console.go("webhooks")
    console.press("Create webhook")
    console.dialog.get_by_label("URL", exact=True).fill("http://127.0.0.1:2049/absent")
    console.dialog.get_by_label("Description").fill(name)
    console.press("Create", exact=True)
    console.press("Done")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    console.press(f"Send test event {name}")
    expect(console.dialog).to_contain_text("was not delivered")
    console.press("Close")
    deployment.key("reported")
    again = page.get_by_role("button", name=re.compile("Resend api_key.created #.*"))

    def was_sent():
        console.settled()
        return again.count()

    reload_until(page, was_sent)
    again.first.click()
    console.said("will be sent again")
    console.press(f"Disable {name}")
    console.press("Disable webhook")
    console.said("was disabled")


# Features: W24.
def test_audit_log_is_filtered_and_followed(deployment, console, page, name):
    page.get_by_role("link", name="Audit log").click()
    page.get_by_role("switch", name="Live updates").check()
    key = deployment.key(name)
    console.said("new event")
    newest = page.locator(".entries > li").first
    expect(newest).to_contain_text("api_key.created")
    newest.locator("summary").click()
    expect(newest.locator("pre")).to_contain_text(key["id"])
    deployment.server.admin("POST", f"/api-keys/{key['id']}/revoke")
    page.get_by_label("Subject").fill(key["id"])
    page.keyboard.press("Enter")
    expect(page.locator(".entries .type")).to_have_text(["api_key.revoked", "api_key.created"])
    page.get_by_label("Type").fill("api_key.revoked")
    page.keyboard.press("Enter")
    expect(page.locator(".entries .type")).to_have_text(["api_key.revoked"])


def test_statistics_count_exchanges_and_refusals(deployment, console, page):
    deployment.swap(deployment.key("counted")["value"])
    deployment.swap(deployment.server.revoked_key)

    def is_counted():
        console.settled()
        return page.get_by_text("success rate").count() and page.get_by_role("heading", name="Refused, by cause").count()

    reload_until(page, is_counted)
    expect(page.get_by_text(re.compile(r"[1-9]\d* granted, [1-9]\d* refused"))).to_be_visible()
    page.get_by_role("button", name="24 hours").click()
    expect(page.get_by_role("button", name="24 hours")).to_have_attribute("aria-pressed", "true")
    page.get_by_text("View as table").first.click()
    expect(page.get_by_role("link", name="Active", exact=True)).to_be_visible()


# Features: P5, P6.
def test_hosted_pages_use_the_configured_branding(deployment, console, page, branding):
    branding(deployment, {})
    logo = b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30"><rect width="60" height="30" rx="6" fill="teal"/></svg>'
    page.get_by_role("link", name="Hosted pages").click()
    console.settled()
    page.get_by_label("Name", exact=True).fill("Runway")
    page.get_by_label("Logo", exact=True).set_input_files({"name": "logo.svg", "mimeType": "image/svg+xml", "buffer": logo})
    page.get_by_label("Light accent", exact=True).fill("#ffcc00")
    expect(page.get_by_text("At least 4.5:1 is recommended")).to_be_visible()
    page.get_by_label("Light accent", exact=True).fill("#0f766e")
    page.get_by_label("Description of organization keys").fill("Keys for your build machines.")
    preview = page.locator(".preview")
    expect(preview.get_by_text("Runway")).to_be_visible()
    expect(preview.get_by_text("Keys for your build machines.")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    console.said("was saved")
    page.goto(deployment.session()["url"])
    create = page.get_by_role("button", name="Create API key")
    expect(create).to_have_css("background-color", "rgb(15, 118, 110)")
    expect(page.get_by_text("Keys for your build machines.")).to_be_visible()
    expect(page.locator("header strong", has_text="Runway")).to_be_visible()
    assert page.locator("header img").evaluate("(image) => image.complete && image.naturalWidth === 60")


# Features: A11, A12.
def test_user_selects_roles_and_resources(deployment, page, name):
    page.goto(deployment.session("bob")["url"].replace("organization-keys", "user-keys"))
    keys = Shown(page)
    page.get_by_role("button", name="Create API key").click()
    keys.dialog.get_by_label("Name").fill(name)
    keys.dialog.get_by_label("Resources").fill("/projects/bob/7\n/projects/bob/8")
    keys.dialog.get_by_role("button", name="Create API key").click()
    expect(keys.dialog.get_by_text("Choose roles for these resources")).to_be_visible()
    # Roles that the user does not hold are not offered.
    expect(keys.dialog.get_by_role("checkbox", name="admin")).to_have_count(0)
    keys.dialog.get_by_role("checkbox", name="engineer").check()
    keys.dialog.get_by_role("button", name="Create API key").click()
    value = keys.value()
    keys.keep()
    expect(keys.row(name)).to_contain_text("projects:read")
    headers = {"Authorization": f"Bearer {value}"}
    token = requests.post(deployment.server.root + "/v1/exchange", headers=headers, timeout=10).json()["access_token"]
    details = jwt.decode(token, options={"verify_signature": False})["authorization_details"]
    assert [detail["locations"] for detail in details] == [["/projects/bob/7", "/projects/bob/8"]]
    assert all("projects:read" in detail["actions"] for detail in details)


def test_organization_manager_sees_no_other_organization(deployment, page, name):
    key = deployment.key("of eve", {"type": "organization", "id": "umbrella"})
    admin = deployment.key(name, permissions=["api-keys:manage"])
    console = Console(deployment, page).enter(admin["value"])
    # The console opens at this view.
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()
    assert page.locator("nav a").all_inner_texts() == ["API keys", "Service clients"]
    expect(console.row(name)).to_be_visible()
    console.go("keys?state=all")
    expect(console.row(name)).to_be_visible()
    expect(console.row("of eve")).to_have_count(0)
    console.go(f"keys/{key['id']}")
    expect(page.get_by_role("alert")).to_contain_text("don’t have permission to see it")
    console.go("keys")
    console.press("Create API key")
    console.dialog.get_by_label("Name", exact=True).fill(f"{name} 2")
    expect(console.dialog.get_by_label("Owner ID")).to_have_value("acme")
    console.press("Create", exact=True)
    assert deployment.swap(Shown(page).value()) == 200


def test_browser_without_cookies_gets_an_explanation(deployment, page):
    page.route("**/console/sign-in", lambda route: route.fulfill(status=204))
    page.goto(deployment.root + "/console")
    page.get_by_label("API key").fill(deployment.server.admin_key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("did not store the session")


def test_input_survives_the_end_of_a_session(deployment, console, page, name):
    role = f"role:{name[-6:]}"
    console.go("roles")
    console.press("Create role")
    console.dialog.get_by_label("Name", exact=True).fill(role)
    page.context.clear_cookies()
    console.press("Create", exact=True)
    again = page.get_by_role("dialog", name="Sign in again")
    again.get_by_label("API key").fill("ks_nonsense")
    again.get_by_role("button", name="Sign in").click()
    expect(again.get_by_role("alert")).to_contain_text("not accepted")
    again.get_by_label("API key").fill(deployment.server.admin_key)
    again.get_by_role("button", name="Sign in").click()
    console.said("was created")
    assert deployment.server.admin("GET", f"/roles/{role}")["name"] == role


def test_input_survives_an_outage(deployment, console, page, name):
    role = f"role:{name[-6:]}"
    console.go("roles")
    console.press("Create role")
    console.dialog.get_by_label("Name", exact=True).fill(role)
    page.context.set_offline(True)
    console.press("Create", exact=True)
    expect(console.dialog.get_by_role("alert").last).to_contain_text("Your input has been kept")
    page.context.set_offline(False)
    console.press("Create", exact=True)
    console.said("was created")
    page.context.set_offline(True)
    page.get_by_role("link", name="Users", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("temporarily unavailable")
    page.context.set_offline(False)
    console.press("Try again")
    expect(page.get_by_role("button", name="Create user")).to_be_visible()


def test_console_without_javascript_shows_a_message(deployment, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(deployment.root + "/console")
    expect(page.locator("noscript p")).to_contain_text("This page needs JavaScript")
    context.close()


def test_console_is_usable_from_the_keyboard(deployment, page, name):
    page.goto(deployment.root + "/console")
    page.get_by_label("API key").wait_for()
    page.keyboard.type(deployment.server.admin_key)
    page.keyboard.press("Enter")
    focused = "document.querySelector('keyswap-console').shadowRoot.activeElement?.innerText"
    tab_to(page, focused, "Roles")
    page.keyboard.press("Enter")
    until(page, f"{focused} === 'Roles' && document.title.startsWith('Roles')")
    tab_to(page, focused, "Create role")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    role = f"role:{name[-6:]}"
    page.keyboard.type(role)
    page.keyboard.press("Enter")
    Console(deployment, page).said("was created")
    tab_to(page, "document.querySelector('keyswap-console').shadowRoot.activeElement?.ariaLabel", f"Delete {role}")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.type(role)
    page.keyboard.press("Enter")
    Console(deployment, page).said("was deleted")


def tab_to(page, focused, name):
    for _ in range(80):
        page.keyboard.press("Tab")
        if (page.evaluate(focused) or "").strip() == name:
            return
    raise AssertionError(f"no way to {name}")


def test_console_is_small(deployment, browser):
    context = browser.new_context()
    page = context.new_page()
    cdp = context.new_cdp_session(page)
    cdp.send("Network.enable")
    sizes = []
    cdp.on("Network.loadingFinished", lambda done: sizes.append(done["encodedDataLength"]))
    Console(deployment, page).enter()
    print(f"{sum(sizes)} bytes on the wire")
    assert len(sizes) > 30 and sum(sizes) < 150_000
    context.close()
