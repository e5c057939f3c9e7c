"""The studio in a real browser: looked at, steered, taught, undone, found again."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unbraid.core.runs import create_run
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.store import save_demos
from unbraid.pipeline.requests import StudioRequest
from unbraid.pipeline.studio import desk_of
from unbraid.studio.edits import Edits
from unbraid.training.config import UnbraidConfig
from unbraid.training.fit import fit

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def run(fitted, tmp_path_factory) -> Path:
    """A copy, to be written to."""
    return Path(shutil.copytree(fitted, tmp_path_factory.mktemp("studio") / "first"))


@contextlib.contextmanager
def studio(run, *more, modules=None, port="0"):
    """The studio in a process of its own, as a person starts it, with a folder of modules of one's own; its address."""
    command = [sys.executable, "-m", "unbraid", "studio", str(run), "--port", port, "--no-browser", "--json", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if modules is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(modules), *filter(None, [os.environ.get("PYTHONPATH")])])
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
    from playwright.sync_api import expect

    expect.set_options(timeout=120_000)
    complaints: list[str] = []
    with studio(run, "--demos", str(pile)) as address:
        page = opened(browser, address, complaints)
        told, chips, status = (page.locator(name) for name in ("#told", "#chips", "#live-status"))
        expect(page.locator("#run")).to_have_text("first · 2 modes · 6 episodes, 360 steps")
        expect(told).to_contain_text("6 episodes")

        # the number that the list is sorted by is shown
        heads = page.locator(".heads")
        expect(heads).to_contain_text("oddness")
        page.select_option("#order", "length")
        expect(heads).to_contain_text("steps")

        # sort, choose with the keyboard, play
        page.select_option("#order", "return")
        page.locator("#timeline").focus()
        page.keyboard.press("ArrowDown")
        expect(told).to_contain_text("return")
        lowest = told.inner_text()
        page.click("#turn")
        expect(told).to_contain_text("6 episodes")
        page.locator("#timeline").focus()
        page.keyboard.press("ArrowDown")
        expect(told).to_contain_text("return")
        expect(told).not_to_have_text(lowest)
        page.keyboard.press("Enter")
        expect(page.locator("#player canvas.stage")).to_be_visible()

        # Space opens what has the focus, and plays elsewhere
        drawer, button = page.locator("#player > details"), page.locator("#player button.primary")
        expect(button).to_have_text("Pause")
        page.locator("#player > details > summary").press("Space")
        expect(drawer).to_have_attribute("open", "")
        expect(button).to_have_text("Pause")
        page.locator("#timeline").press("Space")
        expect(button).to_have_text("Play")

        # a note that is undone leaves its box, and what is not saved yet stays
        note = page.locator("#episode-note")
        note.fill("look here")
        page.click("#episode-note-save")
        expect(told).to_contain_text("Note: look here")
        page.click("#undo")
        expect(note).to_have_value("")
        page.click("#redo")
        expect(note).to_have_value("look here")

        # nothing to undo, a name that is none, and one that another mode has
        said = page.locator("#said")
        page.click("#undo")
        expect(note).to_have_value("")
        page.keyboard.press("Control+z")
        expect(said).to_have_text("There is nothing to undo.")
        page.click("#chips .pen >> nth=1")
        page.fill("#edit-name", "   ")
        page.click("#edit-save")
        expect(said).to_have_text("Nothing was changed.")
        expect(page.locator("#undo")).to_be_disabled()
        page.click("#chips .pen >> nth=1")
        page.fill("#edit-name", "mode 0")
        page.click("#edit-save")
        expect(said).to_contain_text("must have names that differ")
        complaints.pop()  # a browser notes every refusal
        page.click("#redo")
        expect(note).to_have_value("look here")

        # a name, undo
        page.click("#chips .pen >> nth=1")
        page.fill("#edit-name", "the other one")
        page.click("#edit-save")
        expect(chips).to_contain_text("the other one")
        page.click("#undo")
        expect(chips).not_to_contain_text("the other one")
        page.click("#redo")
        expect(chips).to_contain_text("the other one")

        # a control that was built anew or can do no more does not lose the focus
        expect(page.locator("#undo")).to_be_enabled()
        page.locator("#chips .pen >> nth=1").press("Enter")
        page.locator("#edit-note").fill("far")
        page.locator("#edit-save").press("Enter")
        expect(said).to_have_text("Saved with the run.")
        expect(page.locator("#chips .pen >> nth=1")).to_be_focused()
        page.click("#undo")
        for pressed in ("true", "false"):
            page.locator("#chips .group button").first.press("Enter")
            expect(page.locator("#chips .group button").first).to_have_attribute("aria-pressed", pressed)
            expect(page.locator("#chips .group button").first).to_be_focused()

        # cards
        page.click("#tab-modes")
        expect(page.locator("#cards article")).to_have_count(2)
        expect(page.locator("#cards article").first).to_contain_text("nats")

        # steer, and see the mode change
        page.click("#tab-steer")
        asked, words = page.locator("#agents code"), page.locator("#agents p", has=page.locator("code"))
        expect(asked).to_contain_text(".toward(0)")
        page.click("#play")
        expect(status).to_contain_text(re.compile(r"step [1-9]"))
        page.click("text=Only the other one")
        expect(asked).to_contain_text(".toward(1)")
        page.locator(".slider input").first.fill("-0.5")
        expect(asked).to_contain_text(".toward(1).away(0, 0.5)")
        page.locator("#pair").press("Space")
        expect(page.locator("#agents .agent")).to_have_count(2)
        page.locator("#sampled").press("Space")
        expect(page.locator("#sampled")).not_to_be_checked()
        page.locator("#pair").press("Space")
        expect(page.locator("#agents .agent")).to_have_count(1)
        page.locator("#pair").press("Space")
        page.click("#step")
        expect(status).to_contain_text("step 1 ")
        page.locator("#step").press(".")  # a button keeps the keys that it uses, and no others
        expect(status).to_contain_text("step 2 ")
        page.locator("#step").press("Shift+R")
        expect(status).to_contain_text("step 0 ")
        page.click("#step")

        # what is no seed is said, and the last one stays
        expect(page.locator("#agents .path-key")).to_have_count(2)
        seed = page.locator("#seed")
        for given in ("-1", "1.5", "", "1e10"):
            seed.fill(given)
            seed.press("Tab")
            expect(said).to_contain_text("must be a whole number from 0 to 2,147,483,647; it stays 0")
            expect(seed).to_have_value("0")
        expect(status).to_contain_text("step 1 ")

        # a new name is used at once, and the agents go on
        page.locator("#panel-steer .slider input").first.press("Control+z")
        expect(words.first).to_contain_text("mode 1")
        expect(page.locator("#panel-steer .slider .chip").nth(1)).to_have_text("mode 1")
        expect(status).to_contain_text("step 1 ")
        page.click("#redo")
        expect(words.first).to_contain_text("the other one")
        expect(page.locator(".presets").first).to_contain_text("Away from the other one")
        expect(status).to_contain_text("step 1 ")
        expect(page.locator("#agents .facts").first).to_contain_text("goals 0")

        # record
        with page.expect_download() as download:
            page.locator(".record").first.click()
        assert download.value.suggested_filename == "PointGoal1-v0-seed0-agent1.mp4"
        assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"

        # teach
        page.click("#tab-teach")
        page.check("#blends")
        expect(page.locator(".answers button").first).to_be_enabled()
        held = "new KeyboardEvent('keydown', {key: 'ArrowLeft', repeat: true, bubbles: true})"
        page.evaluate(f"document.body.dispatchEvent({held})")  # a key that is held down answers nothing
        for number in range(10):
            expect(page.locator("#n-answers")).to_contain_text(re.compile(f"^{number} answer"))
            button = page.locator(".answers button").nth(number % 4)
            expect(button).to_be_enabled()
            button.press("Enter")
        expect(page.locator(".answers button").nth(1)).to_be_focused()
        expect(page.locator("#n-answers")).to_contain_text("10 answers")
        expect(page.locator("#last-pair")).to_have_text(re.compile("^Last pair: left was .+, right was .+\\.$"))
        pairs = page.locator("#taught")
        expect(pairs).to_contain_text("Pair 11")

        # clips can be stopped, and do not move by themselves for who wants no motion
        expect(page.locator("#teach-pause")).to_have_text("Pause")
        page.locator("#taught").click()
        page.keyboard.press("Space")
        expect(page.locator("#teach-pause")).to_have_text("Play")
        page.locator("#teach-pause").press("Enter")
        expect(page.locator("#teach-pause")).to_have_text("Pause")
        still = browser.new_page(reduced_motion="reduce")
        still.goto(f"{address}#teach")
        expect(still.locator("#teach-pause")).to_have_text("Play")
        still.close()

        # here the key takes an answer back, and says so; a name it leaves
        page.keyboard.press("Control+z")
        expect(page.locator("#n-answers")).to_contain_text("9 answers")
        expect(said).to_have_text("The last answer is forgotten.")
        page.keyboard.press("Control+Shift+z")
        expect(said).to_contain_text("cannot be given again")
        expect(page.locator("#learned")).to_contain_text("the other one")
        expect(pairs).to_contain_text("Pair 10")
        page.locator(".answers button").first.click()
        expect(pairs).to_contain_text("Pair 11")
        seen = pairs.inner_text()
        page.click("#undo")  # a name: the pair under view stays
        expect(page.locator("#learned")).not_to_contain_text("the other one")
        page.click("#redo")
        expect(page.locator("#learned")).to_contain_text("the other one")
        expect(pairs).to_have_text(seen)
        expect(page.locator("#teach-command")).to_contain_text("--method preferences")

        # the log of the fit, and pictures of its modes
        page.click("#tab-train")
        expect(page.locator("#fit-facts")).to_contain_text("Step ")
        expect(page.locator("#log option")).to_have_text(["unbraid's method"])
        expect(page.locator("#terms")).to_contain_text(
            "policy: minus the log-likelihood of what was done, in nats a step"
        )
        expect(page.locator("#pictures article")).to_have_count(2)
        expect(page.locator("#pictures canvas.actions")).to_have_count(2)
        expect(page.locator("#pictures canvas.stage")).to_have_count(2)

        # all is there again after a reload
        page.reload()
        expect(page.locator("#tab-train")).to_have_attribute("aria-selected", "true")
        page.click("#tab-demos")
        expect(chips).to_contain_text("the other one")

        # a long name fits on a phone
        page.click("#chips .pen >> nth=1")
        page.fill("#edit-name", "w" * 60)
        page.click("#edit-save")
        expect(chips).to_contain_text("w" * 60)
        page.set_viewport_size({"width": 400, "height": 800})
        for tab, there in (
            ("demos", "#chips .pen >> nth=1"),
            ("modes", "#cards article >> nth=1"),
            ("steer", "#agents code"),
            ("teach", "#learned .slider >> nth=1"),
            ("train", "#pictures article >> nth=1"),
        ):
            page.click(f"#tab-{tab}")
            expect(page.locator(there)).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, tab
        page.click("#undo")

        # a mode that was looked at alone, and then merged, is looked at as what it is part of
        page.click("#tab-demos")
        expect(chips).to_contain_text("the other one")
        page.click("#chips .group button >> nth=2")
        expect(told).not_to_contain_text("6 episodes")
        page.click("#chips .pen >> nth=1")
        page.select_option("#edit-into", "0")
        page.click("#edit-save")
        expect(told).to_contain_text("6 episodes")
        page.click("#tab-modes")
        expect(page.locator("#cards article")).to_have_count(1)
        expect(page.locator("#cards article")).to_contain_text("nats")
        expect(page.locator("#cards article")).to_contain_text("There is no other mode.")

        # one mode leaves nothing to choose between, which is said without asking the server
        page.click("#tab-teach")
        expect(page.locator("#panel-teach")).to_contain_text("all are merged into one")
        expect(page.locator(".answers")).to_be_hidden()
        page.click("#undo")
        expect(page.locator(".answers button").first).to_be_enabled()
    assert complaints == []
    done = json.loads((run / "studio.json").read_text())["done"]
    assert [edit["kind"] for edit in done] == ["note_episode", "rename"]
    assert len(json.loads((run / "preferences.json").read_text())["answers"]) == 10


# Pictures on canvases of 120 px: two modes of one colour, and a path that is all of one mode; a hazard in the corner
# where the scale is, and in the one above; and a cursor beside a column's name.
DRAWN = """
(async () => {
  const { drawScene, drawPlots } = await import('/static/scene.js');
  const canvas = () => {
    const made = document.createElement('canvas');
    made.style.cssText = 'position: fixed; width: 120px; height: 120px';
    document.body.append(made);
    return made;
  };
  const trail = [[-1.5, 1.5, 0], [1.5, 1.5, 0]], scene = { robot: [1.5, 1.5, 0], goal: [1, 1], vases: [] };
  const drawn = (modeOf, ...hazards) => {
    const made = canvas();
    drawScene(made, { hazards, half_side_m: 2 }, scene, trail, modeOf);
    return made;
  };
  const red = (y) => {
    const { data } = drawn(() => null, [-1.8, y]).getContext('2d').getImageData(0, 0, 120, 120);
    return data.filter((value, i) => i % 4 === 0 && value > 200 && data[i + 1] < 120 && data[i + 2] < 120).length;
  };
  const of = (mode) => drawn(() => ({ color: '#0072b2', mode })).toDataURL();
  const plotted = (cursor) => {
    const made = canvas();
    drawPlots(made, [{ name: 'a name', values: [0, 1] }], [0, 1], cursor);
    return [made.toDataURL(), made.getContext('2d').getImageData(0, 0, 120, 15).data.join()];
  };
  const [without, over] = [plotted(null), plotted(0.2)];
  const told = {
    modesDiffer: of(0) !== of(1) && of(1) !== of(2), wholeIsPlain: of(undefined) === of(0),
    scaleCoversNothing: red(1.8) > 10 && Math.abs(red(-1.8) - red(1.8)) <= 5,
    nameIsFree: without[0] !== over[0] && without[1] === over[1],
  };
  for (const made of document.querySelectorAll('body > canvas')) made.remove();
  return told;
})()
"""


def test_what_the_page_waits_for_and_what_is_gone_is_said(run, pile, browser):
    from playwright.sync_api import expect

    waiting: list[Any] = []

    def hold(route):  # Playwright marks its handlers, which a list's own method does not bear
        waiting.append(route)

    with studio(run, "--demos", str(pile)) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        port = address.rstrip("/").rpartition(":")[2]
        page.route("**/api/episodes?*", hold, times=1)
        page.goto(address)
        page.wait_for_selector("body[data-ready=yes]")
        expect(page.locator("#told")).to_have_text("Reading the episodes…")
        waiting.pop().continue_()
        expect(page.locator("#told")).to_contain_text("6 episodes")

        # the episode that was chosen last is played, whichever comes last
        page.route("**/api/episode?*", hold, times=1)
        timeline, title = page.locator("#timeline"), page.locator("#player h2")
        timeline.focus()
        for _ in range(2):
            page.keyboard.press("ArrowDown")
            page.keyboard.press("Enter")
        expect(title).to_contain_text("Episode")
        last = title.inner_text()
        with page.expect_response("**/api/episode?*"):
            waiting.pop().continue_()
        page.keyboard.press("ArrowUp")
        expect(page.locator("#told")).not_to_contain_text(last.split(" mode")[0])
        expect(title).to_have_text(last)

        # plots that are compared have one scale
        limits = "import('/static/scene.js').then((scene) => scene.limitsOf([[1, 5]], [[3, 2], [NaN, 4]]))"
        assert page.evaluate(limits) == [[1, 3], [2, 5]]

        # a picture's scale is a round length that takes up no more than a third of it
        scale = "import('/static/scene.js').then((scene) => [40, 9, 0.1].map((pixel) => scene.scaleOf(pixel, 300)))"
        assert page.evaluate(scale) == [2, 10, 100]

        # axes have round places
        ticks = "(at) => import('/static/train.js').then((train) => at.map((ends) => train.ticksOf(...ends)))"
        assert page.evaluate(ticks, [[-3.4, 1.2], [0, 1], [0, 0], [0, 0.0034]]) == [
            [-4, -3, -2, -1, 0, 1, 2], [0, 0.2, 0.4, 0.6, 0.8, 1], [0, 0.2], [0, 0.001, 0.002, 0.003, 0.004],
        ]  # fmt: skip

        # modes that share a colour differ in their pattern, in bars as in paths
        looks = (
            "import('/static/marks.js').then(({ patternOf, dashOf }) => [...Array(64).keys()].map((mode) => "
            "[mode % 8, patternOf(mode), String(dashOf({ mode }))]))"
        )
        found = page.evaluate(looks)
        assert [pattern for _, pattern, _ in found[:8]] == list(range(8))
        assert len({(color, pattern) for color, pattern, _ in found}) == 64
        assert len({(color, dash) for color, _, dash in found}) == 64
        assert page.evaluate(DRAWN) == {
            "modesDiffer": True,
            "wholeIsPlain": True,
            "scaleCoversNothing": True,
            "nameIsFree": True,
        }

        # what cannot be worked out is said where it belongs, and the rest of the cards stays
        page.route("**/api/deciding", lambda route: route.fulfill(status=400, json={"error": "No windows."}), times=1)
        page.click("#tab-modes")
        expect(page.locator("#cards .decides")).to_have_text(["No windows.", "No windows."])
        expect(page.locator("#cards article").first).to_contain_text("share of steps")

        page.click("#tab-steer")
        expect(page.locator("#live-status")).to_contain_text("Seed 0")
    gone = "The studio no longer answers; start it again."
    expect(page.locator("#live-status")).to_have_text(gone)
    page.click("#tab-train")
    expect(page.locator("#fit-facts")).to_have_text(gone)
    expect(page.locator("#said")).to_have_text(gone)
    page.click("#tab-modes")
    expect(page.locator("#cards")).to_have_text(gone)

    # a page that stays open is of use again when the server is
    with studio(run, "--demos", str(pile), port=port):
        for tab, there in (("modes", "#cards article >> nth=1"), ("train", "#pictures article >> nth=1")):
            page.click(f"#tab-{tab}")
            expect(page.locator(there)).to_be_visible()
        page.click("#tab-steer")
        expect(page.locator("#live-status")).to_contain_text("Seed 0")


def test_what_one_tab_says_another_shows(fitted, pile, browser, tmp_path):
    from playwright.sync_api import expect

    expect.set_options(timeout=120_000)
    complaints: list[str] = []
    run = Path(shutil.copytree(fitted, tmp_path / "first"))
    with studio(run, "--demos", str(pile)) as address:
        one, other = opened(browser, address, complaints), opened(browser, address, complaints)
        other.click("#tab-steer")
        expect(other.locator("#agents .slider .chip")).to_have_count(2)
        one.click("#chips .pen >> nth=1")
        one.fill("#edit-name", "the other one")
        one.click("#edit-save")
        expect(one.locator("#chips .chip").nth(1)).to_have_text("the other one")  # it is saved
        other.evaluate("dispatchEvent(new Event('focus'))")
        expect(other.locator("#agents .slider .chip").nth(1)).to_have_text("the other one")
        expect(other.locator("#undo")).to_be_enabled()

        # agents go on with the modes that they began with; those that are started anew have what was merged as one
        one.click("#chips .pen >> nth=1")
        one.select_option("#edit-into", "0")
        one.click("#edit-save")
        expect(one.locator("#run")).to_contain_text("1 mode ·")
        other.locator("#agents .slider input").first.fill("0.5")
        expect(other.locator("#agents code")).to_contain_text(".toward(0, 0.5)")
        other.locator("#pair").press("Space")
        expect(other.locator("#agents .slider .chip")).to_have_count(2)  # one for each agent
        other.locator("#pair").press("Space")
        expect(other.locator("#agents .slider .chip")).to_have_count(1)
        other.locator("#agents .slider input").first.fill("0.7")
        expect(other.locator("#agents code")).to_contain_text(".blend(")

        # of one mode there is nothing to teach: the keys undo and redo what was said of it
        one.click("#chips .pen")
        one.fill("#edit-name", "both")
        one.click("#edit-save")
        expect(one.locator("#chips .chip")).to_have_text("both")
        one.click("#tab-teach")
        one.keyboard.press("Control+z")
        expect(one.locator("#redo")).to_be_enabled()
        one.keyboard.press("Control+Shift+Z")
        expect(one.locator("#redo")).to_be_disabled()
    assert complaints == []


WIDE = """
import gymnasium
import numpy as np


class Wide(gymnasium.Env):
    metadata = {"render_fps": 30}
    observation_space = gymnasium.spaces.Box(-9, 9, (9,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0.0
        return self.seen(), {}

    def seen(self):
        return np.append(0.1 * self.np_random.normal(size=8), self.place).astype(np.float32)

    def step(self, action):
        self.place = 0.9 * self.place + float(action[0])
        return self.seen(), 0.0, False, False, {}


gymnasium.register("Wide-v0", Wide, max_episode_steps=200)
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A world of nine columns that nobody has a picture of, demonstrations by two experts there, and a run of them."""
    folder, generator = tmp_path_factory.mktemp("elsewhere"), np.random.default_rng(0)
    (folder / "wide_world.py").write_text(WIDE)

    def episode(sign):
        actions, seen = 0.1 * generator.normal(size=(60, 2)) + [0.9 * sign, 0], 0.1 * generator.normal(size=(61, 9))
        seen[0, 8] = 0
        for step, action in enumerate(actions):
            seen[step + 1, 8] = 0.9 * seen[step, 8] + action[0]
        return Episode(seen, actions)

    demos = Demos.from_episodes([episode(sign) for sign in (-1, 1) * 6])
    save_demos(demos, folder / "pile")
    config = UnbraidConfig(n_modes=2, n_steps=100, search_steps=100, policy_hidden=(16,), encoder_width=8)
    fit(demos, config).save_pretrained(folder / "model")
    create_run(folder / "run", {"command": "fit"})
    return folder


def test_a_page_that_is_opened_while_a_fit_goes_on_in_somebody_elses_world(elsewhere, browser):
    from playwright.sync_api import expect

    expect.set_options(timeout=120_000)
    complaints: list[str] = []
    more = ("--demos", str(elsewhere / "pile"), "--env", "wide_world:Wide-v0")
    with studio(elsewhere / "run", *more, modules=elsewhere) as address:
        page = opened(browser, address, complaints)
        expect(page.locator("#tab-train")).to_have_attribute("aria-selected", "true")
        expect(page.locator("#fit-facts")).to_contain_text("Nothing is logged yet")
        for tab in ("modes", "steer", "teach", "demos"):
            page.click(f"#tab-{tab}")
            expect(page.locator(f"#panel-{tab}")).to_contain_text("opens by itself when the fit is done")
        page.locator("#panel-demos button").focus()
        (elsewhere / "model").rename(elsewhere / "run" / "model")

        # the tab that is looked at opens, and what had the focus gives it to the tab
        told, player, boxes = page.locator("#told"), page.locator("#player"), page.locator("#player .boxes input")
        expect(told).to_contain_text("12 episodes")
        expect(page.locator("#tab-demos")).to_be_focused()
        expect(page.locator("#run")).to_have_text("run · 2 modes · 12 episodes, 720 steps")

        # the columns that tell the modes apart are drawn, until others are chosen: with the keyboard, up to eight
        page.locator("#timeline").press("ArrowDown")
        page.locator("#timeline").press("Enter")
        player.locator("details details summary").press("Enter")
        expect(boxes).to_have_count(11)
        expect(boxes.nth(8)).to_be_checked()
        expect(boxes.nth(9)).to_be_checked()
        for column in (8, 9):
            boxes.nth(column).press("Space")
        expect(boxes.nth(8)).not_to_be_checked()
        for column in range(11):
            if page.locator("#player .boxes input:checked").count() < 8 and not boxes.nth(column).is_checked():
                boxes.nth(column).press("Space")
        expect(page.locator("#player .boxes input:disabled")).to_have_count(3)
        player.locator("fieldset button").press("Enter")
        expect(page.locator("#player .boxes input:checked")).to_have_count(4)
        boxes.nth(9).press("Space")
        expect(boxes.nth(9)).not_to_be_checked()

        # the choice is that of every tab
        page.click("#tab-modes")
        expect(page.locator("#cards .profile canvas")).to_have_count(2)
        label = page.locator("#cards .profile canvas").first
        expect(label).to_have_attribute("aria-label", re.compile("^observation 8, .* over time in typical episodes"))
        expect(label).not_to_have_attribute("aria-label", re.compile("action 0"))
        page.click("#tab-steer")
        expect(page.locator("#live-status")).to_contain_text("Seed 0")
        page.locator("#panel-steer details.gap > summary").press("Enter")
        chosen = page.locator("#panel-steer .boxes input:checked")
        expect(chosen).to_have_count(3)
        page.click("#step")
        expect(page.locator("#live-status")).to_contain_text("step 1 ")
        expect(page.locator("#agents canvas.stage")).to_have_attribute("aria-label", "Agent 1, columns over time")
        page.click("#tab-teach")
        expect(page.locator(".answers button").first).to_be_enabled()
        page.locator("#panel-teach details.gap > summary").press("Enter")
        expect(page.locator("#panel-teach .boxes input:checked")).to_have_count(3)
        page.set_viewport_size({"width": 400, "height": 800})
        for tab in ("demos", "modes", "steer", "teach", "train"):
            page.click(f"#tab-{tab}")
            expect(page.locator(f"#panel-{tab}")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, tab
        expect(page.locator("#panel-train .remark")).to_contain_text("The model is there.")
    assert complaints == []


def test_switch_reads_what_was_taught(unbraid, fitted, tmp_path, monkeypatch):
    """The command that the page shows learns from the file that the page wrote."""
    run = Path(shutil.copytree(fitted, tmp_path / "a run"))
    for name, value in (("_SITUATIONS", 3), ("_LONGEST_START", 6), ("_CLIP_STEPS", 2)):
        monkeypatch.setattr(f"unbraid.studio.teaching.{name}", value)
    teacher = desk_of(StudioRequest(run)).teacher
    for _ in range(6):  # a person who wants mode 1, wherever it is
        asked = teacher.pair(Edits(2).shown)
        left, right = asked["clips"]
        teacher.answer(asked["pair"], "left" if left[1] > right[1] else "right")
    program, *arguments = shlex.split(teacher.command)
    assert program == "unbraid"
    said = unbraid(*arguments, "--episodes", 2, "--max-steps", 20, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["method"], found["shares"][1] > 0.9) == ("preferences", True)
    assert (tmp_path / "a run-switcher" / "switcher.json").exists()


def test_what_is_not_there_is_said(unbraid, run, tmp_path):
    for arguments, said in (
        ((tmp_path / "none",), "must be a run's folder"),
        ((run, "--demos", tmp_path / "none"), "none"),
        ((run, "--env", "unbraid/PointGoal0-v0"), "--env must be an environment that fits the model"),
        ((run, "--port", 99999), "must be free to listen on"),
        ((run, "--token", ""), "--token must be at least 8 printable characters"),
    ):
        found = unbraid("studio", *arguments, "--no-browser")
        assert found.code == 2
        assert said in found.err
