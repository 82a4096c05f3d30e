"""The page in a real browser: how it looks, sorting, the filter, the frame viewer, no requests."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from bench import records, report
from bench.store.mlflow import Point, Store
from tests.bench.report.report_store import FakeStore, only_section

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome in PATH")

MODELS = {"predrnn-small", "convlstm-small", "maxvit-small", "copy_last", "mean_frame"}
BASELINES = {"copy_last", "mean_frame"}
SMOKE = {"suite": "smoke", "budget": "4 steps", "dataset": "moving_mnist/long(context_frames=10)"}
VIEWER = "main .viewer"  # another one opens the page
Page = Any


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> FakeStore:
    """Five models of three seeds, and one that fails."""
    store = FakeStore(tmp_path_factory.mktemp("recorded"))
    for seed in range(3):
        for name, mse in (("copy_last", 0.05), ("mean_frame", 0.045)):
            store.add(name, mse, size="only", seed=seed, baseline=True, params=SMOKE)
        for name, mse in (("predrnn", 0.02), ("convlstm", 0.03), ("maxvit", 0.04)):
            store.add(name, mse + seed / 1000, seed=seed, params=SMOKE)
    failed = {records.ERROR: "LookupError: no such key in the model"}
    store.add("raises", None, status=records.Status.FAILED, params=SMOKE, tags=failed)
    return store


@pytest.fixture(scope="module")
def url(recorded: FakeStore, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the page lies that was made of `recorded` in MLflow."""
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(empty_store, folder / "results")
    store = Store(f"sqlite:///{folder / 'results' / 'mlflow.db'}")
    for run in reversed(recorded.cells("smoke")):
        copy(run.run_id, recorded, store)
    return report.build(store, "smoke", folder / "out", latex=True).as_uri()


def copy(run_id: str, recorded: FakeStore, store: Store) -> None:
    """Record in MLflow the run that `recorded` has in memory."""
    (run,) = (run for run in recorded.runs if run.run_id == run_id)
    there = store.begin(run.params["suite"], run.name, run.tags)
    store.params(there, run.params)
    curves = {key: points for (owner, key), points in recorded.curves.items() if owner == run_id}
    points = [Point.now(key, value, step) for key in curves for step, value in curves[key]]
    last = [Point.now(key, value, 400) for key, value in run.metrics.items() if key not in curves]
    store.points(there, points + last)
    for name in (records.SHOWCASE, records.PER_FRAME_TABLE):
        path = recorded.artifact(run_id, name)
        if path is not None:
            store.attach(there, path)
    store.end(there, records.Status(run.tags[records.STATUS]), run.tags.get(records.ERROR, ""))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, which asks for nothing and reports no error; a test's `options` are its context's.

    It stands still unless a test asks for motion.
    """
    options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
    context = browser.new_context(**options | getattr(request, "param", {}))
    page, asked, complaints = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    yield page
    assert asked[0] == url
    assert [target for target in asked[1:] if not target.startswith("data:")] == []
    assert complaints == []
    context.close()


def pixels(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def tile(part: Any) -> Any:
    """The pixels of a frame of the viewer, which may lie between two pixels of the page."""
    seen, box = pixels(part.screenshot()), part.bounding_box()
    left, top = (int(box[side] % 1 + 0.5) for side in ("x", "y"))
    return seen[top : top + 128, left : left + 128]


def shown_models(page: Page, part: str) -> set[str]:
    """The models of which `part`, a selector, is to be seen."""
    return set(
        page.locator(f"{part}[data-model]:visible").evaluate_all(
            "parts => parts.map(part => part.dataset.model)"
        )
    )


@pytest.mark.parametrize(
    "opened",
    [
        {"viewport": {"width": 1280, "height": 900}},
        {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
        {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    ],
    ids=["wide", "narrow", "dark"],
    indirect=True,
)
def test_the_page_fits_its_window(
    opened: Page, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    picture = pixels(opened.screenshot(path=tmp_path / "page.png", full_page=True))
    width = opened.viewport_size["width"]
    assert picture.shape[1] == width
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    is_dark = "dark" in request.node.callspec.id
    assert (np.median(picture) < 60) == is_dark
    assert picture.std() > 20


def test_paper_shows_every_sequence_and_no_controls(opened: Page, tmp_path: Path) -> None:
    pdf = opened.pdf(path=tmp_path / "page.pdf", format="A4")
    assert pdf.startswith(b"%PDF")
    opened.emulate_media(media="print")
    assert opened.locator(f"{VIEWER} .take:visible").count() == 2
    assert opened.locator(".filter:visible, .controls:visible").count() == 0
    assert opened.locator("details .facts").first.is_visible()


@pytest.mark.parametrize("opened", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_nothing_is_missing(opened: Page) -> None:
    assert opened.locator(f"{VIEWER} .take:visible").count() == 2
    assert opened.locator(".filter:visible, .controls:visible").count() == 0
    assert shown_models(opened, ".results tr") == MODELS | {"raises-small"}


def test_a_heading_sorts_its_table(opened: Page) -> None:
    table = opened.locator("table.results").first
    rows, heading = table.locator("tbody tr"), table.get_by_role("button", name="SSIM")

    def order() -> list[str]:
        return [row.get_attribute("data-model") for row in rows.all()]

    by_mse = order()
    assert by_mse[0] == "predrnn-small"
    heading.click()
    assert order() == by_mse  # the better end first
    heading.press("Enter")
    assert order() == [*reversed(by_mse[:-1]), "raises-small"]
    table.locator("th", has_text="SSIM").click(position={"x": 2, "y": 2})
    assert order() == by_mse
    opened.get_by_role("button", name="model", exact=True).first.click()
    assert order() == sorted(by_mse)


def test_the_filter_keeps_models_everywhere(opened: Page) -> None:
    name = opened.get_by_label("Models named")
    name.focus()
    opened.keyboard.type("LSTM")
    for part in (".results tr", ".sheet", "details"):
        assert shown_models(opened, part) == {"convlstm-small"}
    assert opened.locator(".filter output").inner_text() == "1 of 6 models"
    name.fill("predrnn, maxvit")
    for part in (".results tr", ".sheet", "details", ".plots svg g"):
        assert shown_models(opened, part) == {"predrnn-small", "maxvit-small"}
    name.fill("")
    opened.keyboard.press("Tab")
    opened.keyboard.press("Space")
    for part in (".results tr", ".sheet", "details"):
        assert shown_models(opened, part).isdisjoint(BASELINES)
    assert shown_models(opened, ".sheet") == MODELS - BASELINES
    opened.keyboard.press("Space")
    assert shown_models(opened, ".sheet") == MODELS


@pytest.mark.parametrize(
    "opened", [{"permissions": ["clipboard-read", "clipboard-write"]}], indirect=True
)
def test_a_button_copies_the_table_that_python_wrote(opened: Page, url: str) -> None:
    folder = Path(url.removeprefix("file://")).parent
    for name, expected in (
        ("LaTeX", (folder / "tables.tex").read_text()),
        ("Markdown", (folder / "report.md").read_text()),
        ("CSV", (folder / "table.csv").read_text()),
    ):
        opened.get_by_role("button", name=name, exact=True).click()
        opened.get_by_text(f"{name} copied").wait_for()
        copied = opened.evaluate("navigator.clipboard.readText()")
        assert "predrnn-small" in copied
        assert copied.strip() in expected


def test_the_main_table_needs_no_scrolling_and_costs_fold_away(opened: Page) -> None:
    scroll = opened.locator("#section-1 .scroll").first
    assert scroll.evaluate("part => part.scrollWidth <= part.clientWidth")
    cost = opened.get_by_role("region", name="Cost")
    assert not cost.is_visible()
    opened.get_by_text("Cost", exact=True).click()
    assert cost.is_visible()


def test_the_model_under_the_pointer_stands_out_in_every_plot(opened: Page) -> None:
    def faint() -> set[str]:
        parts = opened.locator(".plots svg [data-model]").evaluate_all(
            "parts => parts.map(part => [part.dataset.model, getComputedStyle(part).opacity])"
        )
        return {model for model, opacity in parts if float(opacity) < 0.5}

    assert faint() == set()
    opened.locator('#section-1 tr[data-model="maxvit-small"]').first.hover()
    assert faint() == MODELS - {"maxvit-small"}
    opened.locator("h1").hover()
    assert faint() == set()


def test_a_curve_is_shown_against_what_the_reader_chooses(opened: Page) -> None:
    plot = opened.locator(".plot:has(input)")
    seconds, steps = plot.locator("div").all()
    assert (seconds.is_visible(), steps.is_visible()) == (True, False)
    plot.get_by_text("steps", exact=True).click()
    assert (seconds.is_visible(), steps.is_visible()) == (False, True)
    assert "training steps" in steps.inner_text()
    opened.keyboard.press("ArrowLeft")
    assert (seconds.is_visible(), steps.is_visible()) == (True, False)


def test_the_viewer_steps_through_context_and_horizon(opened: Page) -> None:
    viewer, frame = opened.locator(VIEWER), opened.locator(f"{VIEWER} output")
    assert frame.inner_text() == "+1"
    viewer.press("ArrowLeft")
    assert frame.inner_text() == "\N{MINUS SIGN}1"
    assert opened.locator("main .chosen .given").is_visible()
    assert not opened.locator("main .chosen .came").is_visible()
    assert not opened.locator("main .chosen .error").first.is_visible()
    viewer.press("ArrowRight")
    viewer.press("ArrowRight")
    assert frame.inner_text() == "+2"
    opened.locator(VIEWER).get_by_role("slider").fill("19")
    assert frame.inner_text() == "+10"
    viewer.press("ArrowRight")
    assert frame.inner_text() == "\N{MINUS SIGN}10"


def test_the_viewer_shows_truth_prediction_and_error_in_step(
    opened: Page, recorded: FakeStore
) -> None:
    first = next(run.run_id for run in recorded.runs if run.params["model"] == "convlstm")
    with np.load(recorded.folder / first / records.SHOWCASE) as stored:
        truth, guess = (stored[name][1, 4, 0].astype(int) for name in ("truth", "prediction"))
    opened.get_by_label("test sequence").select_option("Test sequence 7")
    opened.locator(VIEWER).get_by_role("slider").fill("14")
    film = opened.locator('main .chosen [data-model="convlstm-small"]')
    error = colormaps["inferno"](np.abs(truth - guess) / 255)[..., :3] * 255
    for part, expected in (
        (opened.locator("main .chosen .truth"), truth[..., None]),
        (film.locator(".guess"), guess[..., None]),
        (film.locator(".error"), error),
    ):
        seen = tile(part)
        assert np.abs(seen[::2, ::2] - expected).mean() < 1.5
        assert np.abs(seen - np.abs(expected).mean()).max() > 40  # there is something to see


def test_the_viewer_changes_the_sequence(opened: Page) -> None:
    takes = opened.locator(f"{VIEWER} .take")
    assert [take.is_visible() for take in takes.all()] == [True, False]
    before = tile(takes.first.locator(".truth"))
    opened.get_by_label("test sequence").select_option("Test sequence 7")
    assert [take.is_visible() for take in takes.all()] == [False, True]
    after = tile(takes.last.locator(".truth"))
    assert np.abs(before - after[::-1]).mean() < 2  # the store's second is the upturned first
    assert np.abs(before - after).mean() > 2
    opened.get_by_label("side by side").check()
    wide = takes.last.locator(".truth").bounding_box()
    assert wide["width"] > 5 * wide["height"]


def test_the_viewer_plays_and_pauses(opened: Page) -> None:
    frame = opened.locator(f"{VIEWER} output")
    opened.locator(VIEWER).scroll_into_view_if_needed()
    opened.wait_for_timeout(300)
    assert frame.inner_text() == "+1"  # nothing moves by itself where less motion is asked for
    opened.locator(VIEWER).get_by_role("button", name="Play").click()
    opened.wait_for_function("document.querySelector('main .viewer output').value === '+3'")
    opened.locator(VIEWER).get_by_role("button", name="Pause").click()
    stopped = frame.inner_text()
    opened.wait_for_timeout(300)
    assert frame.inner_text() == stopped


@pytest.mark.parametrize("opened", [{"reduced_motion": "no-preference"}], indirect=True)
def test_the_viewer_starts_where_it_comes_in_sight(opened: Page) -> None:
    frame = opened.locator(f"{VIEWER} output")
    opened.wait_for_timeout(300)
    assert frame.inner_text() == "+1"
    opened.locator(VIEWER).scroll_into_view_if_needed()
    opened.wait_for_function("document.querySelector('main .viewer output').value === '+2'")


@pytest.mark.parametrize("opened", [{"reduced_motion": "no-preference"}], indirect=True)
def test_the_page_opens_with_an_answer_and_plays_a_clip(opened: Page) -> None:
    answer, opening = opened.locator("header .verdict"), opened.locator("header .viewer")
    assert answer.inner_text().startswith("On MSE predrnn-small is the best of 3 trained models")
    assert "3 seeds" in opened.locator("header .confidence").inner_text()
    assert shown_models(opened, "header .sheet") == MODELS
    context, truth = (opening.locator(f".{part}") for part in ("given", "came"))
    opened.wait_for_function(
        "document.querySelector('header output').value.startsWith('\N{MINUS SIGN}')"
    )
    assert (context.is_visible(), truth.is_visible()) == (True, False)
    opened.wait_for_function("document.querySelector('header output').value.startsWith('+')")
    assert (context.is_visible(), truth.is_visible()) == (False, True)
    assert tile(truth.locator(".truth")).std() > 20


def test_the_failed_model_keeps_its_row_and_reason(opened: Page, recorded: FakeStore) -> None:
    row = opened.locator('tr[data-model="raises-small"]')
    assert "LookupError" in row.inner_text()
    assert len(only_section(recorded, "smoke").done) == 15
