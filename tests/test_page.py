"""What the page promises: a person who has never seen it finds their way, by mouse or by keys."""

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote_plus

import pytest
import uvicorn

pytest.importorskip("playwright.sync_api", reason="the page is driven by playwright")
pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe judges the page")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

from conftest import draw
from relatum import Catalogue, Config, Store, train
from relatum.serve import create_app

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
).split()
SAME, SHAPE = "are of the same colour", "have the same shape"


@pytest.fixture(scope="module")
def address(
    catalogue: Catalogue,
    settings: Callable[..., Config],
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    steps = {"training__steps": 60, "training__learning_rate": 5e-3}  # until relations differ
    model = train(catalogue, settings(split__test_items=0.2, **steps), cache=cache)
    store = Store.build(model, catalogue, tmp_path_factory.mktemp("page") / "store", cache=cache)
    settings_ = uvicorn.Config(create_app(store), port=0, log_config=None, ws="none")
    server = uvicorn.Server(settings_)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that fails the test if anything goes wrong in it, or it asks another machine."""
    yield from open_page(browser, address)


def open_page(browser: Browser, address: str, **options: object) -> Iterator[Page]:
    faults: list[str] = []
    context = browser.new_context(base_url=address, reduced_motion="reduce", **cast(Any, options))
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda said: faults.append(said.text) if is_fault(said) else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    near = (address, "blob:")
    page.on("request", lambda a: None if a.url.startswith(near) else faults.append(a.url))
    yield page
    context.close()
    assert not faults


def is_fault(said: ConsoleMessage) -> bool:
    return said.type == "error" and "status of 400" not in said.text  # that the page shows itself


def visit(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.wait_for_selector("body.ready")


def names(page: Page, panel: int = 0) -> list[str]:
    """Return what a panel shows, once its answer is there."""
    one = page.locator(".panel").nth(panel)
    expect(one).not_to_have_attribute("aria-busy", "true")
    expect(one.locator(".card").first).to_be_visible()
    return one.locator(".card .name").all_inner_texts()


def test_click_a_thing_then_a_relation_and_the_neighbours_change(page: Page) -> None:
    visit(page)
    page.get_by_role("button", name="red ball a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("red ball a")
    first = names(page)
    assert len(first) == 24 and first[0] != "red ball a"
    expect(page.get_by_role("button", name=SAME)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name=SHAPE).click()
    expect(page.get_by_label("Relation, in any words")).to_have_value(SHAPE)
    second = names(page)
    assert second != first
    page.get_by_label("Relation, in any words").fill("look good beside one another")
    page.wait_for_url("**look+good**")
    assert names(page) != second
    page.locator(".card").first.click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("red ball a")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("red ball a")


def test_back_comes_to_the_place_that_was_left(page: Page) -> None:
    page.set_viewport_size({"width": 700, "height": 400})
    visit(page)
    card = page.locator("#stage .card").nth(40)
    card.scroll_into_view_if_needed()
    top = page.evaluate("scrollY")
    assert top > 200
    card.click()
    page.wait_for_selector(".panel .card")
    assert page.evaluate("scrollY") == 0
    page.go_back()
    page.wait_for_function("top => Math.abs(scrollY - top) < 2", arg=top)
    page.locator("#stage .card").nth(40).click()
    page.wait_for_selector(".panel .card")
    page.get_by_role("button", name="All things").click()
    page.wait_for_function("top => Math.abs(scrollY - top) < 100", arg=top)


def test_two_relations_stand_side_by_side(page: Page) -> None:
    visit(page, "/?item=i000")
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator(".panel")).to_have_count(2)
    assert names(page, 0) != names(page, 1)
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator(".panel")).to_have_count(1)


def test_sliders_mix_relations(page: Page) -> None:
    visit(page, "/?item=i000")
    page.get_by_role("button", name="Mix").click()
    before = names(page)
    slider = page.get_by_role("slider", name=SHAPE)
    slider.focus()
    for _ in range(10):
        slider.press("ArrowLeft")
    expect(page.get_by_label("Relation, in any words")).to_have_value(f"{SAME} − {SHAPE}")
    page.wait_for_url(lambda url: "-1~have" in unquote_plus(url))
    assert names(page) != before


def test_a_link_brings_everything_back(page: Page) -> None:
    visit(page, f"/?item=i005&under={SHAPE}&under=1~{SAME}|-0.5~is larger than&where=size > 1&mix=")
    expect(page.get_by_role("heading", level=1)).to_have_text("red box b")
    expect(page.locator(".panel")).to_have_count(2)
    slider = page.locator(".panel").nth(1).get_by_role("slider", name="is larger than")
    expect(slider).to_have_value("-0.5")
    shown = names(page, 0), names(page, 1)
    page.reload()
    page.wait_for_selector("body.ready")
    assert (names(page, 0), names(page, 1)) == shown


def test_filters_leave_out_what_does_not_pass(page: Page) -> None:
    visit(page)
    page.get_by_role("button", name="Filter").click()
    page.get_by_label("colour").select_option("blue")
    expect(page.locator("#stage .card").first).to_contain_text("blue")
    expect(page.locator("#stage .card")).to_have_count(12)
    page.get_by_label("or any condition").fill("nonsense = 1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("nonsense")
    expect(page.locator("#stage .card")).to_have_count(0)
    visit(page, "/?item=i000")
    assert names(page)
    page.get_by_role("button", name="Filter").click()
    page.get_by_label("or any condition").fill("nonsense = 1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("nonsense")
    expect(page.locator("#stage .card")).to_have_count(0)


def hits(page: Page, relation: str, item: str = "i000") -> list[dict[str, Any]]:
    """Return what the page has to show, from the service itself."""
    answer = page.request.post("/v1/search", data={"item": item, "relation": relation, "k": 24})
    return answer.json()["hits"]


def card_texts(page: Page, part: str, panel: int = 0) -> list[str]:
    names(page, panel)
    cards = page.locator(".panel").nth(panel).locator(".card").all()
    return [" ".join(card.locator(part).all_inner_texts()) for card in cards]


def test_each_card_says_what_the_relation_is_about(page: Page) -> None:
    visit(page, f"/?item=i000&under={SAME}")
    colours = [hit["metadata"]["colour"] for hit in hits(page, SAME)]
    told = [f"{'✓' if colour == 'red' else '≠'} {colour}" for colour in colours]
    assert card_texts(page, ".values") == told
    count = colours.count("red")
    expect(page.locator(".told")).to_contain_text(f"Same colour, red: {count} of 24")
    last = page.locator(".card").nth(23).get_attribute("aria-label") or ""
    assert f"colour {colours[-1]}, {'the same' if colours[-1] == 'red' else 'another'}" in last
    page.get_by_role("button", name=SHAPE).click()  # no column says it: the groups do
    expect(page.locator(".told")).not_to_contain_text("colour")
    shapes = [hit["groups"] for hit in hits(page, SHAPE)]
    told = [f"{'✓' if same else '≠'} {shape}" for one in shapes for shape, same in one.items()]
    assert card_texts(page, ".values") == told and "✓ ball" in told
    page.get_by_label("Relation, in any words").fill("look good beside one another")
    page.wait_for_url("**look+good**")
    assert set(card_texts(page, ".values")) == {""}


def test_known_links_are_marked(page: Page) -> None:
    for relation in (SAME, "is larger than"):
        visit(page, f"/?item=i001&under={relation}")
        known = [hit["is_linked"] for hit in hits(page, relation, "i001")]
        assert card_texts(page, ".badge") == ["known link" if one else "" for one in known]
        expect(page.locator(".told")).to_contain_text(f"Known links: {sum(known)} of 24")
        assert any(known)


def test_a_line_says_where_hits_stop_to_be_likely(page: Page) -> None:
    chances = [0.9, 0.4, 0.6, 0.45, 0.1]
    told: list[float | None] = [*chances]

    def answer(route: Route) -> None:
        body = route.fetch().json()["hits"][: len(told)]
        for hit, chance in zip(body, told, strict=True):
            hit["probability"] = chance
        route.fulfill(json={"hits": body})

    page.route("**/v1/search", answer)
    visit(page, "/?item=i000&under=look good together")
    names(page)
    rows = page.locator(".cards > li")
    expect(rows.nth(3)).to_have_text("Unsure from here on: under 50 %")
    told[:] = [0.09, 0.08]
    visit(page, "/?item=i000&under=look good together")
    expect(rows.first).to_have_text("Unsure of all: 9 % at best")
    for sure in ([0.9, 0.5], [None, None]):
        told[:] = sure
        visit(page, "/?item=i000&under=look good together")
        expect(page.locator(".card")).to_have_count(2)
        assert page.locator(".edge").count() == 0
    told[:] = [0.1, 0.1]
    visit(page, f"/?item=i000&under={SAME}")  # their cards say the same colour: no doubt of that
    assert card_texts(page, ".values") == ["✓ red", "✓ red"]
    assert page.locator(".edge").count() == 0


def test_what_the_page_chose_itself_it_says(page: Page) -> None:
    visit(page)
    page.get_by_role("button", name="red ball a").first.click()
    expect(page.locator(".guess")).to_have_text("Chosen for you; choose another above.")
    page.reload()
    expect(page.locator(".guess")).to_be_visible()
    page.locator(".card").first.click()
    expect(page.locator(".guess")).to_be_visible()
    page.get_by_role("button", name=SAME).click()
    expect(page.locator(".guess")).to_have_count(0)
    page.reload()
    names(page)
    assert page.locator(".guess").count() == 0
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator(".panel").nth(1).locator(".guess")).to_be_visible()
    assert page.locator(".panel").first.locator(".guess").count() == 0
    visit(page)
    page.get_by_label("Find a thing").fill("red ball")
    expect(page.locator(".guess")).to_have_text("Alike in general; choose a relation above.")


def test_one_press_leaves_what_has_the_same_value(page: Page) -> None:
    visit(page, f"/?item=i000&under={SAME}&where=size < 3")
    button = page.get_by_role("button", name="Only red")
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_be_focused()
    assert set(card_texts(page, ".values")) == {"✓ red"}
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#filters [name=colour]")).to_have_value("red")
    expect(page.get_by_label("or any condition")).to_have_value("size < 3 AND colour = 'red'")
    button.click()
    expect(page.get_by_label("or any condition")).to_have_value("size < 3")


def test_a_filter_is_told_and_taken_away_where_the_results_are(page: Page) -> None:
    visit(page, f"/?item=i000&under={SAME}&where=colour = 'red'")
    strip = page.locator("#filtered")
    expect(strip).to_contain_text("Only where colour = 'red'")
    strip.get_by_role("button", name="Show all again").click()
    expect(strip).to_be_hidden()
    assert "≠ blue" in card_texts(page, ".values")


def test_that_nothing_else_has_the_value_is_said(page: Page) -> None:
    def answer(route: Route) -> None:
        body = route.fetch().json()
        colours = next(one for one in body["columns"] if one["key"] == "colour")["values"]
        next(one for one in colours if one["value"] == "red")["count"] = 1
        route.fulfill(json=body)

    page.route("**/v1/relations", answer)
    visit(page, f"/?item=i000&under={SAME}")
    expect(page.locator(".told")).to_contain_text("Nothing else has colour red.")
    assert page.get_by_role("button", name="Only red").count() == 0


def test_a_relation_says_whether_it_is_new_and_which_way_it_goes(page: Page) -> None:
    visit(page, f"/?item=i000&under={SAME}")
    expect(page.locator(".lead")).to_have_text("Things that")
    expect(page.locator(".told")).not_to_contain_text("New to the model")
    visit(page, "/?item=i000&under=are made of wood")
    expect(page.locator(".told")).to_contain_text("New to the model")
    visit(page, "/?item=i000&under=is larger than")
    expect(page.locator(".lead")).to_have_text("This thing")


def test_menus_count_and_long_ones_are_typed(page: Page) -> None:
    visit(page)
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_label("colour").locator("option")).to_contain_text(["any", "black (12)"])

    def answer(route: Route) -> None:
        body = route.fetch().json()
        more = [{"value": f"colour {n}", "count": 1} for n in range(40)]
        next(one for one in body["columns"] if one["key"] == "colour")["values"] += more
        route.fulfill(json=body)

    page.route("**/v1/relations", answer)
    visit(page, "/?where=size > 1 OR size < 1")
    page.get_by_role("button", name="Filter").click()
    box = page.get_by_label("colour")
    hints = page.locator(f"#{box.get_attribute('list')} option")
    expect(hints).to_have_count(44)
    expect(hints.first).to_have_attribute("label", "black (12)")
    box.fill("blue")
    box.press("Enter")
    expect(page.locator("#stage .card")).to_have_count(9)
    whole = "(size > 1 OR size < 1) AND colour = 'blue'"
    expect(page.get_by_label("or any condition")).to_have_value(whole)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#stage .card")).to_have_count(48)
    expect(box).to_have_value("")


@pytest.mark.parametrize("width", [360, 1280])
def test_relations_stay_in_sight(browser: Browser, address: str, width: int) -> None:
    top = "(one) => { const { top, bottom } = one.getBoundingClientRect(); return [top, bottom]; }"
    for page in open_page(browser, address, viewport={"width": width, "height": 640}):
        visit(page, f"/?item=i000&under={SAME}")
        names(page)
        cards = page.locator(".card")
        cards.last.scroll_into_view_if_needed()
        page.mouse.wheel(0, 4000)
        chip = page.get_by_role("button", name=SAME)
        page.wait_for_function("scrollY > 200")
        assert chip.evaluate(
            """(one) => { const { x, y } = one.getBoundingClientRect();
            return document.elementFromPoint(x + 20, y + 10) === one; }"""
        )
        cards.nth(0).evaluate("(one) => one.focus()")
        (_, bottom), (above, _) = (
            page.locator(where).evaluate(top) for where in (".pin", ".card:focus")
        )
        assert above >= bottom  # what has the focus is not under what sticks
        page.mouse.wheel(0, 4000)
        page.get_by_role("button", name="are alike in general").click()
        page.wait_for_url(lambda url: SAME not in unquote_plus(url))
        expect(cards.first).to_be_in_viewport()


def test_lists_side_by_side_say_what_differs(page: Page) -> None:
    visit(page, f"/?item=i000&under={SAME}&under={SHAPE}")
    found = [{hit["id"] for hit in hits(page, relation)} for relation in (SAME, SHAPE)]
    for place in (0, 1):
        mine = [hit["id"] for hit in hits(page, (SAME, SHAPE)[place])]
        alone = [id not in found[1 - place] for id in mine]
        assert any(alone) and not all(alone)
        assert [("only here" in text) for text in card_texts(page, ".badge", place)] == alone
        told = page.locator(".panel").nth(place).locator(".told")
        expect(told).to_contain_text(f"Not in the other list: {sum(alone)} of 24")
    page.get_by_role("button", name="Only what differs").click()
    expect(page.locator(".card:visible")).to_have_count(len(found[0] ^ found[1]))
    for panel in page.locator(".panel").all():
        expect(panel.locator(".card[tabindex='0']")).to_have_count(1)
        expect(panel.locator(".card[tabindex='0']")).to_be_visible()
    page.locator(".card:visible").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".card:visible").first).not_to_be_focused()
    expect(page.locator(".card:focus")).to_be_visible()
    page.reload()
    expect(page.locator(".card:visible")).to_have_count(len(found[0] ^ found[1]))
    page.locator(".panel").nth(1).get_by_role("button", name=SAME).click()
    expect(page.locator(".told").first).to_contain_text("Both lists show the same things")
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator(".card:visible")).to_have_count(24)
    assert page.locator(".badge.only").count() == 0


def test_why_shows_heat_and_words(page: Page) -> None:
    visit(page, "/?item=i001")
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#source canvas.heat")).to_be_visible()
    expect(page.locator("#source .text mark").first).to_be_visible()
    expect(page.locator(".legend")).to_contain_text("counted for the match")
    expect(page.locator("#stage canvas.heat").first).to_be_attached()
    last = page.locator("#stage .card").nth(20)  # the best ten are explained, others on demand
    expect(last.locator("canvas.heat")).to_have_count(0)
    last.hover()
    expect(last.locator("canvas.heat")).to_be_attached()
    expect(page.locator("#source canvas.heat")).to_be_visible()


def test_a_picture_of_your_own_finds_neighbours(page: Page, tmp_path: Path) -> None:
    draw("red", "box", 15).save(tmp_path / "mine.png")
    visit(page)
    page.locator("#file").set_input_files(tmp_path / "mine.png")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your picture")
    before = names(page)
    page.get_by_role("button", name=SHAPE).click()
    assert names(page) != before
    (tmp_path / "bad.png").write_bytes(b"<svg/>")
    page.locator("#file").set_input_files(tmp_path / "bad.png")
    expect(page.get_by_role("alert")).to_contain_text("the picture is none of")


def test_a_picture_may_be_dropped(page: Page) -> None:
    visit(page)
    page.evaluate(
        """async () => {
          const canvas = new OffscreenCanvas(40, 40);
          canvas.getContext("2d").fillRect(9, 9, 20, 20);
          const data = new DataTransfer();
          data.items.add(new File([await canvas.convertToBlob()], "a.png", { type: "image/png" }));
          for (const kind of ["dragenter", "drop"])
            window.dispatchEvent(new DragEvent(kind, { dataTransfer: data, cancelable: true }));
        }"""
    )
    expect(page.get_by_role("heading", level=1)).to_have_text("Your picture")
    assert names(page)


def test_all_of_it_works_with_keys(page: Page) -> None:
    visit(page)
    page.keyboard.press("/")
    expect(page.get_by_label("Find a thing")).to_be_focused()
    page.keyboard.type("red ball")
    expect(page.get_by_role("heading", level=1)).to_have_text("red ball")
    assert names(page)
    page.keyboard.press("Enter")
    cards = page.locator(".card")
    expect(cards.first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(cards.nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.className") == "card"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    name = page.locator(".card:focus .name").inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.keyboard.press("Escape")
    expect(page.locator("#source")).to_be_hidden()


def test_words_of_strangers_stay_words(page: Page) -> None:
    visit(page, "/?text=<img src=x onerror=alert(1)>&under=<script>alert(1)</script>")
    expect(page.get_by_role("heading", level=1)).to_have_text("<img src=x onerror=alert(1)>")
    assert page.locator("#stage script, #source img").count() == 0


VIEWS = ["/", f"/?item=i000&under={SAME}&under={SHAPE}&look=", "/?item=i000&mix=", "/?item=i000"]
VIEWS += [f"/?item=i000&under={SAME}&under={SHAPE}&guess=1&differ="]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("dark", 360)])
def test_axe_finds_nothing_to_mend(browser: Browser, address: str, scheme: str, width: int) -> None:
    size = {"width": width, "height": 740}
    for page in open_page(browser, address, color_scheme=scheme, viewport=size):
        rules = {
            "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        }
        for view in VIEWS:
            visit(page, view)
            page.evaluate("document.getElementById('filter').click()")
            found = Axe().run(page, options=rules)
            assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [320, 360, 768])
def test_nothing_is_wider_than_the_window(browser: Browser, address: str, width: int) -> None:
    for page in open_page(browser, address, viewport={"width": width, "height": 740}):
        for view in VIEWS:
            visit(page, view)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            small = page.evaluate(
                """[...document.querySelectorAll("button, select, input:not(.hidden)")]
                   .filter((one) => one.checkVisibility() && one.getBoundingClientRect().width)
                   .filter((one) => Math.min(one.offsetWidth, one.offsetHeight) < 24)
                   .map((one) => one.outerHTML)"""
            )
            assert small == []


def test_a_closed_store_asks_for_its_token(browser: Browser, address: str) -> None:
    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer secret":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"message": "send the token"}})

    context = browser.new_context(base_url=address)
    page = context.new_page()
    page.route("**/v1/**", guard)
    page.goto("/")
    page.get_by_role("textbox", name="Token").fill("secret")
    page.get_by_role("button", name="Open").click()
    expect(page.locator(".card img").first).to_have_attribute("src", re.compile("^blob:"))
    context.close()
