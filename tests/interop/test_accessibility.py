"""Every page before axe-core, in light and dark and on wide and narrow screens; with KEYSWAP_PICTURES, the pictures of docs/pictures."""

import os
import re

import pytest

from browser import Console, Shown

DATABASE = "sqlite"
# All four where the pictures are kept. Else two, which see each scheme and each width once.
SCREENS = {"wide-light": ("light", 1280), "narrow-dark": ("dark", 390)}
if "KEYSWAP_PICTURES" in os.environ:
    SCREENS |= {"narrow-light": ("light", 390), "wide-dark": ("dark", 1280)}


@pytest.mark.parametrize("scheme, width", SCREENS.values(), ids=SCREENS)
def test_nothing_serious_for_axe(runway, browser, axe, pictures, scheme, width):
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 860})
    page = context.new_page()
    keys = Shown(page)
    organization = runway.organization(ada="admin", cyd="guest")
    runway.a_few_keys(organization)
    kept = lambda name: page.screenshot(path=pictures / f"{name}-{scheme}-{'wide' if width > 600 else 'narrow'}.png")

    page.goto(runway.root + "/portal/organization-keys")
    page.get_by_text("Sign in to manage API keys").wait_for()
    axe(page)
    kept("keys-signed-out")
    page.goto(runway.session("cyd", organization)["url"])
    page.get_by_role("alert").wait_for()
    axe(page)
    page.goto(runway.session("ada", organization)["url"])
    keys.row("deploy bot").first.wait_for()
    axe(page)
    kept("keys")
    page.get_by_role("button", name="Create API key").click()
    axe(page)
    kept("keys-create")
    keys.dialog.get_by_label("Name").fill("ci")
    keys.dialog.get_by_role("button", name="Create API key").click()
    keys.dialog.get_by_role("heading", name="Copy the key now").wait_for()
    axe(page)
    # No picture of a value, though its key is gone with the test: people would wonder.
    keys.keep()
    keys.row("ci").get_by_role("button", name=re.compile("Rotate")).first.click()
    axe(page)
    page.keyboard.press("Escape")
    keys.row("ci").get_by_role("button", name=re.compile("Revoke")).first.click()
    axe(page)
    kept("keys-revoke")
    page.keyboard.press("Escape")
    with runway.settings_page("ada", organization) as url:
        page.goto(url)
        keys.row("deploy bot").first.wait_for()
        axe(page)
        kept("widget")
    context.close()


VIEWS = ["overview", "keys", "service-clients", "access-records", "organizations", "users", "roles", "permissions", "audiences", "signing-keys", "events", "webhooks", "pages"]


@pytest.mark.parametrize("scheme, width", SCREENS.values(), ids=SCREENS)
def test_nothing_serious_for_axe_in_the_console(exhibit, browser, axe, pictures, scheme, width):
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
