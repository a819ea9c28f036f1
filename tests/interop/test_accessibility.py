"""Checks every page with axe-core, in light and dark and on wide and narrow screens. With
KEYSWAP_PICTURES, writes the pictures of docs/pictures."""

import os
import re

import pytest

from browser import Console, Shown

DATABASE = "sqlite"
# All four if the pictures are kept, or else two, which cover each scheme and each width once.
SCREENS = {"wide-light": ("light", 1280), "narrow-dark": ("dark", 390)}
if "KEYSWAP_PICTURES" in os.environ:
    SCREENS |= {"narrow-light": ("light", 390), "wide-dark": ("dark", 1280)}

VIEWS = ["overview", "keys", "service-clients", "access-records", "organizations", "users", "roles", "permissions", "audiences", "signing-keys", "events", "webhooks", "pages"]


@pytest.mark.parametrize("scheme, width", SCREENS.values(), ids=SCREENS)
def test_axe_finds_no_serious_fault_in_the_console(exhibit, browser, axe, pictures, scheme, width):
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 860})
    page = context.new_page()
    console = Console(exhibit, page)

    def look(view):
        page.mouse.move(0, 0)
        axe(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{view} is wider than the screen"
        page.screenshot(path=pictures / f"console-{view}-{scheme}-{'wide' if width > 600 else 'narrow'}.png")

    page.goto(exhibit.root + "/console")
    page.get_by_label("API key").wait_for()
    look("sign-in")
    console.enter()
    for view in VIEWS:
        console.go(view)
        look(view)
    for view in ["organizations/acme", "users/ada", f"keys/{exhibit.keys[3]['id']}"]:
        console.go(view)
        look(view.split("/")[0].removesuffix("s"))
    console.go("keys")
    console.press("Create API key")
    look("key-create")
    context.close()


@pytest.mark.parametrize("scheme, width", SCREENS.values(), ids=SCREENS)
def test_axe_finds_no_serious_fault(exhibit, browser, axe, pictures, scheme, width):
    """Runs after the console, which would show the key that is created here."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 860})
    page = context.new_page()
    keys = Shown(page)
    kept = lambda name: page.screenshot(path=pictures / f"{name}-{scheme}-{'wide' if width > 600 else 'narrow'}.png")

    page.goto(exhibit.root + "/portal/organization-keys")
    page.get_by_text("Sign in to manage API keys").wait_for()
    axe(page)
    kept("keys-signed-out")
    page.goto(exhibit.session("cyd")["url"])
    page.get_by_role("alert").wait_for()
    axe(page)
    page.goto(exhibit.session()["url"])
    page.get_by_role("alertdialog").wait_for()
    axe(page)
    page.get_by_role("button", name="Switch user").click()
    keys.row("deploy bot").first.wait_for()
    axe(page)
    kept("keys")
    page.get_by_role("button", name="Create API key").click()
    axe(page)
    kept("keys-create")
    keys.dialog.get_by_label("Name").fill("ci")
    keys.dialog.get_by_role("button", name="Create API key").click()
    keys.dialog.get_by_role("heading", name="Copy your API key").wait_for()
    axe(page)
    # A picture must not show a key value, even if the key is revoked at the end of the test.
    keys.keep()
    keys.row("ci").get_by_role("button", name=re.compile("Rotate")).first.click()
    axe(page)
    page.keyboard.press("Escape")
    keys.row("ci").get_by_role("button", name=re.compile("Revoke")).first.click()
    axe(page)
    kept("keys-revoke")
    page.keyboard.press("Escape")
    for key in exhibit.server.admin("GET", "/api-keys?organization=acme&state=active&limit=100")["data"]:
        if key["name"] == "ci":
            exhibit.server.admin("POST", f"/api-keys/{key['id']}/revoke")
    with exhibit.settings_page() as url:
        page.goto(url)
        keys.row("deploy bot").first.wait_for()
        axe(page)
        kept("widget")
    context.close()
