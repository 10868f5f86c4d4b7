"""The status page in a real browser, of a real daemon that sends to a simulated Apple: `make page`.

Each test is a function here; each has a daemon of its own. The daemon is the program that the environment variable
APNSD names, else `target/debug/apnsd`. `check.py --screenshots DIR` tests nothing and writes
what the page looks like into a directory.
"""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients"))

from browser import Browser
from world import World

GOOD, BAD = "aa" * 32, "bad8" + "0" * 60
#: An app id that would be markup if it were not escaped.
HOSTILE = '<script>document.title="taken"</script>&"\'</tbody>'
#: In CSS pixels: a desktop, a phone, the narrowest phone.
WIDTHS = (1280, 390, 320)
#: Apps of a daemon that has many.
MANY = 300
#: Of its page: characters, and the height on a phone in CSS pixels.
SIZE_MAX, HEIGHT_MAX = 100_000, 16_000


def provision(world: World, app: str, certificate: str, environment: str = "sandbox") -> None:
    """Four arguments: an app that cannot be used is kept as refused."""
    world.call("provision", app, Path(certificate).read_text(), environment, 15)


def notify(world: World, app: str, *tokens: str) -> None:
    world.call("notify", app, list(tokens), {"aps": {"alert": "Hello"}})


def it_loads_under_auth_and_follows_what_happens(world: World, browser: Browser) -> None:
    world.stop()
    url = world.start_secure()
    provision(world, "shop", world.certificate)
    browser.open(url)
    browser.wait_text("#connection", "Live")
    assert browser.text("h1") == "The app can send", browser.text("h1")
    # A mark on the document proves that what follows comes without loading again.
    browser.run("window.mark = 'the same page'")
    notify(world, "shop", *[GOOD] * 1200)
    browser.wait_text("#delivered", "1,200")
    notify(world, "shop", GOOD, BAD)
    browser.wait_text("#rejected", "1")
    browser.wait_text(".rejections tbody", "bad80000…")
    browser.wait_text(".rejections tbody", "BadDeviceToken")
    browser.wait("return document.querySelector('.overview path.delivered').getAttribute('d').length > 9")
    assert BAD not in browser.run("return document.documentElement.outerHTML"), "a token in clear"
    provision(world, "late", world.certificate)
    browser.wait_text(".apps", "late")
    browser.wait_text("h1", "All 2 apps can send")
    assert browser.run("return document.title") == "All 2 apps can send – apnsd"
    assert browser.run("return window.mark") == "the same page"
    assert browser.complaints() == []


def a_wrong_token_shows_nothing(world: World, browser: Browser) -> None:
    world.stop()
    world.start_secure()
    provision(world, "shop", world.certificate)
    browser.open(world.wrong_url)
    assert "shop" not in browser.run("return document.documentElement.outerHTML")


def a_refused_certificate_is_shown_with_its_cause(world: World, browser: Browser) -> None:
    provision(world, "shop", world.certificate)
    provision(world, "old", world.expired_certificate)
    browser.open(world.url)
    browser.wait_text("#connection", "Live")
    assert browser.text("h1") == "1 of 2 apps cannot send", browser.text("h1")
    first = browser.text(".apps tbody")
    assert first.startswith("old") and "Refused" in first and "expired" in first, first
    assert "Why it cannot send:" in first, first
    provision(world, "old", world.certificate)
    browser.wait_text("h1", "All 2 apps can send")
    assert "Refused" not in browser.text(".apps")


def it_goes_on_after_a_restart_of_the_daemon(world: World, browser: Browser) -> None:
    browser.open(world.url)
    browser.wait_text("#connection", "Live")
    world.stop()
    browser.wait_text("#connection", "Not connected")
    world.start()
    browser.wait_text("#connection", "Live")
    provision(world, "shop", world.certificate)
    browser.wait_text(".apps", "shop")


def it_fits_narrow_screens_and_is_a_table_for_those_who_hear_it(world: World, browser: Browser) -> None:
    provision(world, "com.example." + "averylongnamewithoutanyplacetobreakit" * 4, world.certificate)
    provision(world, "old", world.expired_certificate)
    provision(world, "com.example.shop", world.certificate, "sandbox-binary")
    notify(world, "com.example.shop", GOOD, BAD)
    browser.open(world.url)
    browser.wait_text(".rejections", "bad80000…")
    for width in WIDTHS:
        browser.resize(width, 800, mobile=width < 600)
        page, room = browser.run("const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
        assert width - 20 <= room <= width and page <= room, f"{page} of {room} pixels, at {width}"
    roles = browser.run("return [...document.querySelectorAll('tbody tr:first-child > *')].map(e => e.role)")
    assert set(roles) == {"rowheader", "cell"}, roles


def what_others_wrote_stays_text(world: World, browser: Browser) -> None:
    provision(world, HOSTILE, world.certificate)
    browser.open(world.url)
    browser.wait_text("#connection", "Live")
    assert browser.text(".apps tbody th bdi") == HOSTILE
    notify(world, HOSTILE, BAD)
    browser.wait_text(".rejections", HOSTILE)
    assert browser.run("return document.title") == "The app can send – apnsd"
    assert browser.run("return document.scripts.length") == 1
    assert browser.complaints() == []


def without_scripts_it_loads_again_by_itself(world: World, _: Browser) -> None:
    provision(world, "shop", world.certificate)
    with Browser(scripts=False) as browser:
        browser.open(world.url)
        assert "loads again every 10 seconds" in browser.text("#connection"), browser.text("body")
        assert browser.text(".apps tbody").startswith("shop")
        provision(world, "late", world.certificate)
        browser.wait_text(".apps", "late")


def of_many_apps_those_in_trouble_come_first_and_any_is_found(world: World, _: Browser) -> None:
    certificate, expired = Path(world.certificate).read_text(), Path(world.expired_certificate).read_text()
    for number in range(MANY):
        pem = expired if number % 100 == 99 else certificate
        world.call("provision", f"com.example.tenant-{number:03}", pem, "sandbox", 15)
    shown = "return [...document.querySelectorAll('.apps tbody th > bdi')].map(e => e.innerText.slice(-3))"
    painted = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    for scripts in (True, False):
        with Browser(scripts) as browser:
            browser.open(world.url)
            assert browser.text("h1") == "3 of 300 apps cannot send", browser.text("h1")
            apps = browser.run(shown)
            assert (len(apps), apps[:4]) == (50, ["099", "199", "299", "000"]), apps
            size = browser.run("return document.documentElement.outerHTML.length")
            assert size < SIZE_MAX, f"{size} bytes"
            print(f"   {size / 1024:.0f} KiB, painted after {browser.wait(painted):.0f} ms")
            browser.resize(390, 800, mobile=True)
            height = browser.run("return document.documentElement.scrollHeight")
            assert height < HEIGHT_MAX, f"{height} pixels on a phone"
            browser.submit("input[name=app]", "TENANT-12")
            browser.wait("return document.querySelectorAll('.apps tbody').length === 10")
            browser.click("nav a[href*=trouble]")
            browser.wait_text(".heading + p", "None that is in trouble has “TENANT-12” in its id.")
            if scripts:
                world.call("provision", "com.example.tenant-12x", expired, "sandbox", 15)
                browser.wait_text(".apps", "tenant-12x")
                world.call("apnsd.deprovision", "com.example.tenant-12x")
            assert browser.complaints() == []


def a_program_gets_text(world: World, _: Browser) -> None:
    provision(world, "old", world.expired_certificate)
    with urllib.request.urlopen(world.url) as answer:
        text = answer.read().decode()
    assert text.startswith("The app cannot send ("), text
    assert "\nold: Why it cannot send: " in text and "Running for: less than a minute\n" in text, text


def show(world: World, browser: Browser, directory: Path) -> None:
    """Screenshots of a busy daemon."""
    provision(world, "com.example.shop", world.certificate)
    provision(world, "com.example.news", world.second_certificate, "sandbox-binary")
    provision(world, "com.example.old", world.expired_certificate)
    key = {"key_id": "SIMULATOR1", "team_id": "SIMTEAM001", "topic": "com.example.chat"}
    world.call("provision", "com.example.chat", Path(world.key).read_text(), "sandbox", 15, key)
    browser.open(world.url)
    for burst in range(1, 12):
        notify(world, "com.example.shop", *[GOOD] * (burst * burst * 7 % 180))
        notify(world, "com.example.chat", *[GOOD] * 40, *[BAD] * (burst % 4))
        notify(world, "com.example.news", *[GOOD] * 25)
        if burst % 3 == 0:
            count = burst * 40
            browser.wait("return document.querySelector('#delivered').innerText.replace(',', '') > arguments[0]", count)
        browser.run("return new Promise(done => setTimeout(done, 4000))")
    for width in WIDTHS:
        for dark in (False, True):
            browser.resize(width, 900, dark, mobile=width < 600)
            browser.screenshot(str(directory / f"page-{width}-{'dark' if dark else 'light'}.png"))


TESTS: list[Callable[[World, Browser], None]] = [
    it_loads_under_auth_and_follows_what_happens,
    a_wrong_token_shows_nothing,
    a_refused_certificate_is_shown_with_its_cause,
    it_goes_on_after_a_restart_of_the_daemon,
    it_fits_narrow_screens_and_is_a_table_for_those_who_hear_it,
    what_others_wrote_stays_text,
    without_scripts_it_loads_again_by_itself,
    of_many_apps_those_in_trouble_come_first_and_any_is_found,
    a_program_gets_text,
]


def main(arguments: list[str]) -> None:
    """Runs all tests, or those that are named."""
    if arguments[:1] == ["--screenshots"]:
        with World() as world, Browser() as browser:
            show(world, browser, Path(arguments[1]))
        return
    for test in TESTS:
        if arguments and test.__name__ not in arguments:
            continue
        with World() as world, Browser() as browser:
            test(world, browser)
        print("ok", test.__name__.replace("_", " "), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
