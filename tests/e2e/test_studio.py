"""The studio in a real browser: looked at, steered, taught, undone, found again."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def run(unbraid, pile, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("studio") / "first"
    said = unbraid("fit", pile, "--out", run, "--n-steps", 40, "--n-modes", 2, "--seed", 1)
    assert said.code == 0, said.err
    return run


@contextlib.contextmanager
def studio(run, *more):
    """The studio in a process of its own, as a person starts it; its address."""
    command = [sys.executable, "-m", "unbraid", "studio", str(run), "--port", "0", "--no-browser", "--json", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield json.loads(line)["page"]
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.fixture
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser, address, complaints):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)  # a machine that is busy is no fault of the page
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.wait_for_selector("body[data-ready=yes]")
    return page


def test_a_person_sees_steers_teaches_and_undoes(run, pile, browser):
    complaints: list[str] = []
    with studio(run, "--demos", str(pile)) as address:
        page = opened(browser, address, complaints)
        assert page.locator("#run").inner_text() == "first · 2 modes · 6 episodes, 360 steps"
        page.wait_for_function("document.querySelector('#told').textContent.startsWith('6 episodes')")

        # sort, choose with the keyboard, play
        page.select_option("#order", "return")
        page.locator("#timeline").focus()
        page.keyboard.press("ArrowDown")
        page.wait_for_function("document.querySelector('#told').textContent.startsWith('Episode')")
        first = page.locator("#told").inner_text()
        page.click("#turn")
        page.locator("#timeline").focus()
        page.keyboard.press("ArrowDown")
        page.wait_for_function(
            "(was) => { const now = document.querySelector('#told').textContent;"
            " return now !== was && now.startsWith('Episode'); }",
            arg=first,
        )
        page.keyboard.press("Enter")
        page.wait_for_selector("#player canvas.stage")

        # a note, a name, undo
        page.fill("#episode-note", "look here")
        page.click("#episode-note-save")
        page.click("#chips .pen >> nth=1")
        page.fill("#edit-name", "the other one")
        page.click("#edit-save")
        page.wait_for_selector("#chips >> text=the other one")
        page.click("#undo")
        page.wait_for_function("!document.querySelector('#chips').textContent.includes('the other one')")
        page.click("#redo")
        page.wait_for_selector("#chips >> text=the other one")

        # cards
        page.click("#tab-modes")
        page.wait_for_selector("#cards article >> nth=1")
        page.wait_for_selector("#cards >> text=action 0")

        # steer, and see the mode change
        page.click("#tab-steer")
        page.wait_for_selector("#agents code")
        page.click("#play")
        page.wait_for_function("/step [1-9]/.test(document.querySelector('#live-status').textContent)")
        assert ".toward(0)" in page.locator("#agents code").inner_text()
        page.click("text=Only the other one")
        page.wait_for_function("document.querySelector('#agents code').textContent.includes('.toward(1)')")
        page.check("#pair")
        page.wait_for_selector("#agents .agent >> nth=1")
        page.click("#step")
        page.wait_for_function("/step 1 /.test(document.querySelector('#live-status').textContent)")

        # record
        with page.expect_download() as download:
            page.locator(".record").first.click()
        assert re.fullmatch(r"PointGoal1-v0-seed0-agent1\.mp4", download.value.suggested_filename)
        assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"

        # teach
        page.click("#tab-teach")
        for number in range(10):
            page.wait_for_function(f"document.querySelector('#n-answers')?.textContent.startsWith('{number} answer')")
            page.wait_for_selector(".answers button:not([disabled]) >> nth=3")
            page.click(f".answers button >> nth={number % 4}")
        page.wait_for_function("document.querySelector('#n-answers').textContent.startsWith('10 answers')")

        # the log of the fit
        page.click("#tab-train")
        page.wait_for_function("document.querySelector('#fit-facts').textContent.startsWith('Step 40')")

        # all is there again after a reload
        page.reload()
        page.wait_for_selector("body[data-ready=yes]")
        assert page.locator("#tab-train").get_attribute("aria-selected") == "true"
        page.click("#tab-demos")
        page.wait_for_selector("#chips >> text=the other one")
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert complaints == []
    assert [edit["kind"] for edit in json.loads((run / "studio.json").read_text())["done"]] == [
        "note_episode",
        "rename",
    ]
    assert len(json.loads((run / "preferences.json").read_text())["answers"]) == 10


def test_what_is_not_there_is_said(unbraid, run, tmp_path):
    for arguments, said in (
        ((tmp_path / "none",), "must be a run's folder"),
        ((run, "--demos", tmp_path / "none"), "none"),
        ((run, "--env", "unbraid/PointGoal0-v0"), "--env must be an environment that fits the model"),
        ((run, "--port", 99999), "must be free to listen on"),
    ):
        found = unbraid("studio", *arguments, "--no-browser")
        assert found.code == 2
        assert said in found.err
