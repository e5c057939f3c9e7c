"""The benchmark of modes: a tiny one from end to end, what it keeps, how it judges; and, marked slow, a true one."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

ASKED = (  # cases and rows
    ("two", "unbraid,closed_loop,online,supervised,kmeans,categorical_vae,talk_1_published"),
    ("two,one", "auto"),
    ("order", "supervised,kmeans"),
    ("forward_second", "over_time"),
    ("rounds", "encoders,encoder_lstm,talk_1_lstm"),
    ("own_speeds", "style"),
)


@pytest.fixture(scope="module")
def bench(module):
    return module("bench_modes")


@pytest.fixture(scope="module")
def cases(module):
    return module("mode_cases")


@pytest.fixture(scope="module")
def rows(module):
    return module("mode_rows")


@pytest.fixture(scope="module")
def summaries(module):
    return module("mode_summary")


@pytest.fixture(scope="module")
def tables(module):
    return module("mode_tables")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, bench):
    """What a tiny run leaves behind."""
    folder = tmp_path_factory.mktemp("bench_modes")
    for cases, rows in ASKED:
        bench.main(["--quick", "--cases", cases, "--seeds", "0", "--rows", rows, "--folder", str(folder)])
    return folder


@pytest.fixture
def content(folder):
    return json.loads((folder / "bench_modes.json").read_text())


def test_every_row_has_its_levels_with_their_n_and_interval(content):
    rows = content["cases"]["two"]["rows"]
    assert {row: list(rows[row]["nmi"]) for row in rows} == {
        "unbraid": ["encoder", "policy", "combined"],
        "supervised": ["encoder", "policy", "combined"],
        "kmeans": ["statistics"],
        "categorical_vae": ["encoder"],
        "talk_1_published": ["encoder"],
    }
    for row, of_row in rows.items():
        assert of_row["seconds"]["worst"] > 0
        for levels in of_row["nmi"].values():
            fine = ["25", "episode"] if row == "categorical_vae" else ["10", "25", "50", "100", "episode"]
            assert list(levels) == fine
            for numbers in levels.values():
                low, high = numbers["low"][0], numbers["high"][0]
                if low is None:  # nothing was told apart
                    assert (numbers["mean"], high) == (0, None)
                else:
                    assert 0 <= low <= numbers["mean"] == numbers["worst"] <= high <= 1
                assert numbers["n_episodes"] == 8
    n_windows = {level: numbers["n_windows"] for level, numbers in rows["kmeans"]["nmi"]["statistics"].items()}
    assert n_windows == {"10": 8 * 39, "25": 8 * 36, "50": 8 * 31, "100": 8 * 21, "episode": 8}
    assert content["cases"]["two"]["pile"]["n_training_steps"] == 2 * 6 * 200
    assert content["cases"]["order"]["pile"]["n_held_out_episodes"] == 4 * 4


def test_modes_act_beside_the_experts_that_they_are_matched_with(content):
    loop = content["cases"]["two"]["closed_loop"]
    assert list(loop["experts"]) == list(loop["modes"]) == ["goal_seeking", "forward"]
    there = {expert: of_metric for expert, of_metric in loop["modes"].items() if of_metric["goals"][0] is not None}
    assert there
    for expert, of_metric in there.items():
        for metric in ("goals", "return", "cost", "distance", "displacement"):
            assert loop["experts"][expert][metric]["n"] == 4
            compared = of_metric[metric][0]
            of_expert = loop["experts"][expert][metric]["value"]
            assert compared["difference"]["value"] == pytest.approx(compared["mode"] - of_expert)
            assert compared["holds"] in (True, False)
    assert 0 <= loop["n_as_good"][0] <= 2


def test_the_number_of_modes_is_reported_with_its_sureness_and_seconds(content):
    auto = content["auto"]
    assert {case: auto[case]["n_experts"] for case in auto} == {"two": 2, "one": 1}
    for found in auto.values():
        assert found["n_modes"][0] >= 1
        assert (found["sureness_standard_errors"][0] is None) == (found["n_modes"][0] == 1)
        assert found["seconds"]["mean"] > 0


def test_a_part_of_the_table_is_never_taken_for_the_whole(content):
    assert content["complete"] is False
    found = {"two", "one", "forward_second", "own_speeds", "all"}
    assert {target["case"] for target in content["targets"]} == found
    n_seeds = {target["case"]: target["n_seeds"] for target in content["targets"]}
    assert n_seeds == dict.fromkeys(found, 1) | {"forward_second": 3}  # it has two seeds more than others


def test_experts_that_change_are_read_step_by_step(content):
    found = content["over_time"]["forward_second"]
    assert found["seeds"] == [0, 1, 2]
    assert found["pile"] == {"experts": ["goal_seeking", "forward", "circling", "hazard_seeking"]} | {
        "n_training_episodes": 9
    }
    assert len(found["found"]) == 3
    for row in ("unbraid", "supervised"):
        assert found[row]["nmi"]["worst"] == min(found[row]["nmi"]["per_seed"])
        for read in found[row]["per_seed"]:
            assert 0 <= read["low"] <= read["nmi"] <= read["high"] <= 1
            assert read["missing_per_episode"]["n"] == read["n_episodes"] == 9
    assert {t["what"].split(",")[0] for t in content["targets"] if t["case"] == "forward_second"} == {
        "NMI of single steps",
        "median error of a change",
        "changes an episode that are not there",
    }


def test_every_kind_of_encoder_is_read_at_every_length_beside_its_seconds(content, tables):
    found = content["encoders"]["rounds"]
    assert list(content["encoders"]) == ["rounds"]
    assert (found["seeds"], found["pile"]["n_training_episodes"]) == ([0], 12)
    assert list(found["kinds"]) == ["mean", "window_mlp", "convolution", "lstm", "attention"]
    for read in found["kinds"].values():
        assert list(read["nmi"]) == ["encoder", "combined"]
        for levels in read["nmi"].values():
            assert list(levels) == ["1", "5", "25", "100", "episode"]
            assert levels["25"]["n_windows"] == 8 * 20
        assert 0 < read["processor_s"]["worst"] < 60
        assert read["reading_processor_s"]["worst"] > 0
    table = tables.encoders_table(content["encoders"], "combined")
    assert [line[2] for line in table[1:]] == list(found["kinds"])
    assert table[1][:2] == [found["title"], "1"]
    assert table[4][5] == tables.of_seeds(found["kinds"]["lstm"]["nmi"]["combined"]["25"])
    assert "## Kinds of encoders" in content["markdown"]


def test_the_policy_beside_encoders_is_the_same_and_the_encoder_is_not(module, cases, rows):
    training, held_out = cases.pile_of(cases.CASES["rounds"], cases.QUICK, 0)
    encoders = module("encoders")
    config = rows.config_of(rows.Job(cases.CASES["rounds"], "encoders", 0, cases.QUICK))
    learner = encoders.fitted_policy(training.without_labels(), config)
    first, second = (encoders.fitted_encoder(learner, kind) for kind in ("mean", "lstm"))
    assert learner.taken == config.n_steps
    for model in (first, second):
        assert all(
            a.equal(b) for a, b in zip(model.policy.parameters(), learner.model.policy.parameters(), strict=True)
        )
    assert (first.config.encoder, second.config.encoder) == ("mean", "lstm")
    assert not np.allclose(first.transform(held_out), second.transform(held_out))


def test_places_in_turn_are_the_same_places_in_another_order(module):
    demos = module("rounds").rounds(3, 5)
    for episode in demos:
        angles = np.arctan2(episode.observations[:, 1], episode.observations[:, 0])
        stations = np.round(angles * 10 / (2 * np.pi)).astype(int) % 10
        assert np.bincount(stations[:120], minlength=10).tolist() == pytest.approx([12] * 10, abs=4)
        moved = np.diff(stations) % 10
        assert np.mean(moved == (1, 3)[episode.label]) > 0.9
        assert abs(np.corrcoef(episode.actions[:, 0], moved)[0, 1]) < 0.5 if moved.std() else True


def test_styles_are_held_against_the_speed_that_nobody_was_told(content, tables, module, summaries):
    found = content["style"]["own_speeds"]
    (result,) = found["per_seed"]
    assert found["pile"]["n_training_episodes"] == 18
    assert list(result["explained"]) == ["goal_seeking", "forward", "circling"]
    for expert, of_level in result["explained"].items():
        assert of_level["episode"]["n"] == len(result["episodes"][expert]) == 4
        assert of_level["25"]["n"] == 4 * 8  # 200 steps, windows at stride 25
        styles, drawn, realised = np.array(result["episodes"][expert]).T
        assert ((styles >= 0) & (styles <= 1)).all()
        assert ((drawn >= 0.25) & (drawn <= 0.95)).all()
        assert (realised > 0).all()
        assert all(0 <= of[speed] <= 1 for of in of_level.values() for speed in ("drawn", "realised"))
    assert set(result["swept"]) <= set(result["explained"])
    assert {len(speeds) for speeds in result["swept"].values()} == {9}
    assert {len(result["nmi"][name]["combined"]) for name in ("on", "off")} == {3}
    assert "## Experts that vary within themselves" in tables.text_of(content)
    targets = [target["what"].split(",")[0] for target in summaries.style_targets(content["style"])]
    assert targets == [
        "NMI of 25-step windows with styles and without",
        "NMI of whole episodes with styles and without",
        "share of the variance of speed that the style explains",
    ]
    figure = module("method_figures").styles_figure(found)
    assert [axes.get_xlabel() for axes in figure.axes] == ["style asked for", "style read off the episode"] * 3


def test_a_style_must_explain_the_speed_of_every_expert(summaries):
    def met(apart, shares):
        def nmi(value):
            return {"combined": {level: {"nmi": value} for level in ("25", "episode")}}

        explained = {str(i): {"episode": {"drawn": share}} for i, share in enumerate(shares)}
        seed = {"nmi": {"on": nmi(1.0), "off": nmi(1.0 - apart)}, "explained": explained}
        return [target["met"] for target in summaries.style_targets({"own_speeds": {"per_seed": [seed] * 3}})]

    assert met(0.01, [0.8, 0.99]) == [True, True, True]
    assert met(-0.01, [0.8, 0.99]) == [True, True, True]
    assert met(0.011, [0.79, 0.99]) == [False, False, False]


def test_a_line_explains_what_lies_on_it(rows):
    styles = np.array([0.0, 0.5, 1.0, 0.5])
    assert rows.explained(styles, 3 - 2 * styles) == 1.0
    assert rows.explained(styles, np.array([1.0, 2.0, 1.0, 2.0])) == 0.0
    assert rows.explained(np.full(4, 0.5), styles) == 0.0


def test_every_episode_is_driven_at_its_own_speed(module):
    varying = module("varying")
    demos = varying.varying(("forward", "circling"), 6, 3, n_steps=500)
    again, other = (varying.varying(("forward", "circling"), 6, seed, n_steps=500) for seed in (3, 4))
    assert demos.fingerprint() == again.fingerprint() != other.fingerprint()
    speeds, found = np.array(demos.facts[varying.SPEED]), varying.mean_speeds(demos)
    for label in (0, 1):
        own = demos.labels == label
        assert np.corrcoef(speeds[own], found[own])[0, 1] > 0.9
    spread = [float(np.std(episode.actions[:, 0])) for episode in demos]
    assert max(spread) - min(spread) < 0.05  # the noise is the same at every speed


def test_a_second_run_goes_on_from_what_is_kept(bench, rows, folder, monkeypatch, capsys):
    def refused(job, folder):
        raise AssertionError(job)

    for row in rows.RUNNERS:
        monkeypatch.setitem(rows.RUNNERS, row, refused)
    cases, of_cases = ASKED[0]
    asked = ["--quick", "--cases", cases, "--rows", of_cases, "--folder", str(folder)]
    bench.main([*asked, "--seeds", "0"])
    printed = capsys.readouterr().out
    assert printed.strip() == json.loads((folder / "bench_modes.json").read_text())["markdown"].strip()
    assert "| unbraid, encoder alone " in printed
    assert "(1 of 3 seeds)" in printed
    with pytest.raises(AssertionError, match="seed=1"):
        bench.main([*asked, "--seeds", "0,1"])


def test_what_was_asked_otherwise_is_not_taken(cases, rows, folder):
    job = rows.Job(cases.CASES["two"], "unbraid", 0, cases.QUICK)
    path = rows.path_of(job, folder)
    assert rows.stored_at(path, rows.asked_of(job, folder)) is not None
    longer = dataclasses.replace(cases.QUICK, n_fit_steps=181)
    assert rows.stored_at(path, rows.asked_of(dataclasses.replace(job, sizes=longer), folder)) is None
    more_rollouts = dataclasses.replace(job, sizes=dataclasses.replace(cases.QUICK, n_rollouts=5))
    assert rows.stored_at(path, rows.asked_of(more_rollouts, folder)) is not None  # a fit has none


def test_modes_that_acted_are_taken_for_those_of_their_own_model_alone(cases, rows, folder, tmp_path):
    job = rows.Job(cases.CASES["two"], "closed_loop", 0, cases.QUICK)
    path, own = rows.path_of(job, folder), rows.model_folder(job, folder) / "model.safetensors"
    assert rows.stored_at(path, rows.asked_of(job, folder)) is not None
    other = rows.model_folder(job, tmp_path) / "model.safetensors"
    other.parent.mkdir(parents=True)
    other.write_bytes(own.read_bytes())
    assert rows.stored_at(path, rows.asked_of(job, tmp_path)) is not None
    other.write_bytes(own.read_bytes()[:-1] + b"?")
    assert rows.stored_at(path, rows.asked_of(job, tmp_path)) is None


def test_results_hang_on_the_code_that_they_need(rows):
    kinds = {row: rows.kind_of(row) for row in ("unbraid", "auto", "supervised", "closed_loop", "kmeans", "talk_1")}
    assert kinds == {
        "unbraid": "fits",
        "auto": "fits",
        "supervised": "modes given",
        "closed_loop": "modes given",
        "kmeans": "other methods",
        "talk_1": "other methods",
    }
    assert len({rows.source_fingerprint(kind, None) for kind in set(kinds.values())}) == 3


# What is asked


def test_one_default_serves_every_case(cases, rows):
    from unbraid.training.config import UnbraidConfig

    for case in cases.CASES.values():
        config = rows.config_of(rows.Job(case, "unbraid", 2, cases.Sizes()))
        assert config == UnbraidConfig(n_modes=case.n_modes, seed=2)


def test_each_ablation_switches_off_one_thing(cases, rows):
    default = rows.config_of(rows.Job(cases.CASES["four"], "unbraid", 2, cases.QUICK))
    assert (default.n_modes, default.seed) == (4, 2)
    several = {"context_input", "policy_plain"}  # layers as they were come with the one, and are two settings
    assert {row for row, changes in cases.SWITCHED_OFF.items() if len(changes) != 1} == several
    for row, changes in cases.SWITCHED_OFF.items():
        config = rows.config_of(rows.Job(cases.CASES["four"], row, 2, cases.QUICK))
        assert all(getattr(config, name) != getattr(default, name) for name in changes)
        assert dataclasses.replace(config, **{name: getattr(default, name) for name in changes}) == default


def test_each_kind_of_encoder_changes_one_thing(cases, rows):
    for kind in cases.IN_ORDER:
        default, config = (
            rows.config_of(rows.Job(cases.CASES["rounds"], row, 2, cases.QUICK))
            for row in ("unbraid", f"encoder_{kind}")
        )
        assert dataclasses.replace(config, encoder="auto") == default != config
        own, other = (
            rows.config_of(rows.Job(cases.CASES["rounds"], row, 2, cases.QUICK)) for row in ("talk_1", f"talk_1_{kind}")
        )
        assert other.encoder == kind
        assert dataclasses.replace(other, encoder="transition", batch_size=own.batch_size) == own


def test_a_full_pile_is_the_one_that_has_its_name(cases, module, monkeypatch):
    piles = module("piles")
    asked = []
    monkeypatch.setattr(cases, "point_goal", lambda *args, **how: asked.append((args, how)))
    for name in ("two", "six", "unbalanced"):
        pile = piles.PILES[name]
        cases.simulated(type(pile)(cases.point_goal, *pile.args, **pile.keywords), 5, cases.Sizes())
        (experts, n_training, seed), how = asked.pop()
        assert (experts, n_training, seed) == (*pile.args, 5)
        assert how == {"n_held_out": 24, "n_steps": 1000, **pile.keywords}


def test_every_row_can_be_run_and_every_target_is_of_a_case_that_has_its_level(cases, rows):
    assert set(rows.RUNNERS) == set(cases.ROWS)
    for case in cases.CASES.values():
        assert set(case.rows) <= set(cases.ROWS)
        assert set(case.levels) <= set(cases.LEVELS)
        assert not case.has_table or case.headline in case.levels
    for target in cases.TARGETS:
        assert target.level in cases.CASES[target.case].levels
        assert target.of is None or target.of in cases.CASES[target.case].rows


def test_a_case_without_its_data_is_left_out_and_named(cases, summaries, tables, monkeypatch, tmp_path):
    monkeypatch.setattr(cases, "DATA", tmp_path)
    assert summaries.jobs_of(["push_t"], cases.ROWS, [0], cases.QUICK) == []
    content = summaries.summary([0], cases.QUICK, tmp_path)
    assert content["left_out"] == ["half_cheetah", "push_t", "push_t_quarter", "half_cheetah_spliced"]
    assert "Left out, since their data were not there: half_cheetah, push_t" in tables.text_of(content)


def test_a_case_of_an_earlier_version_is_named(cases, rows, summaries, tables, folder, tmp_path):
    kept = shutil.copytree(folder, tmp_path / "kept")
    now = summaries.summary([0], cases.QUICK, kept)
    assert now["of_an_earlier_version"] == []
    assert tables.earlier_text(now) == ""
    path = kept / "order" / "kmeans_seed0.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"source": "other methods 0123456789ab"}))
    then = summaries.summary([0], cases.QUICK, kept)
    assert then["of_an_earlier_version"] == ["order"]
    assert "earlier version" in tables.earlier_text(then)
    assert tables.earlier_text(then) in tables.text_of(then)
    assert tables.earlier_text(then) in tables.short_text(then)


def test_a_name_that_does_not_exist_is_refused(bench, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--rows", "unbraid,kmedians"])
    assert "kmedians" in capsys.readouterr().err


# How it judges


@pytest.mark.parametrize(
    ("per_seed", "met"),
    [
        ([0.98, 0.98, 0.98], True),
        ([0.961, 0.99, 0.99], True),
        ([0.959, 1.0, 1.0], False),
        ([0.979, 0.98, 0.98], False),
    ],
)
def test_a_target_is_met_by_the_mean_and_nearly_by_the_worst_seed(summaries, cases, per_seed, met):
    good = {level: summaries.spread([1.0, 1.0, 1.0]) for level in cases.LEVELS}
    nmi = {"combined": good | {"10": summaries.spread(per_seed)}, "encoder": good}
    targets = summaries.nmi_targets({"two": {"rows": {"unbraid": {"nmi": nmi}}}})
    assert [target["met"] for target in targets] == [met, True, True]
    assert targets[0]["what"] == "NMI, 10-step windows, >= 0.98"


@pytest.mark.parametrize(("five", "met"), [([0.9, 0.9, 0.9], True), ([0.9, 0.4, 0.9], False), ([0.9, 1.0, 0.9], False)])
def test_longer_windows_must_be_read_no_worse_with_every_seed(summaries, five, met):
    levels = {"1": [0.5] * 3, "5": five, "25": [0.95] * 3}
    nmi = {"combined": {level: summaries.spread(per_seed) for level, per_seed in levels.items()}}
    (target,) = summaries.rising_targets({"forward_turning": {"rows": {"unbraid": {"nmi": nmi}}}})
    assert target["met"] is met
    assert target["worst"] == pytest.approx(0.05 if met else -0.1 if five[1] < 0.5 else -0.05)


def test_a_share_of_the_bound_is_taken_seed_by_seed(summaries, cases):
    def row(evidence, per_seed):
        return {"seeds": [0, 1, 2], "nmi": {evidence: {"50": summaries.spread(per_seed)}}}

    rows = {"unbraid": row("combined", [0.45, 0.9, 0.6]), "supervised": row("combined", [0.5, 1.0, 0.6])}
    (target,) = summaries.nmi_targets({"lunar_lander": {"rows": rows}})
    assert (target["worst"], target["met"]) == (0.9, True)
    assert target["mean"] == pytest.approx(2.8 / 3, abs=1e-4)


def test_a_mode_is_as_good_where_every_judged_metric_holds_with_every_seed(summaries, cases):
    def verdict(holds):
        compared = [{"holds": value} if value is not None else None for value in holds]
        good, bad = [{"holds": True}] * len(holds), [{"holds": False}] * len(holds)
        modes = {"forward": dict.fromkeys(cases.METRICS, good) | {"cost": bad, "goals": compared}}
        (target,) = summaries.loop_targets({"two": {"rows": {}, "closed_loop": {"modes": modes}}})
        return target["worst"], target["met"]

    assert verdict([True, True, True]) == (1.0, True)
    assert verdict([True, False, True]) == (0.75, False)
    assert verdict([True, True, None]) == (0.75, False)  # no mode was matched with the expert


RAREST = {"expert": "x", "n_training": 2, "n_held_out": 4, "share": 0.75, "share_told_labels": 1.0}
RAREST |= {"alone": True, "alone_in_training": True, "same_mode": True}


def checks(n_supported=6, whole=1.0, n_groups=4, pure=1.0, others=0.0, **not_own):
    """What the checks of one seed might find."""
    search = {"n_supported": n_supported, "verdict": "said", "sureness_standard_errors": 5.0}
    purity = {which: {"25": pure, "episode": 1.0} for which in ("apart", "merged", "refitted")}
    return {
        "too_few": {"case": "six", "n_experts": 6, "seeds": [0]}
        | {"per_seed": [{"search": search, "in_main_mode": {"forward": 1.0, "circling": whole}}]},
        "too_many": {"case": "four", "n_experts": 4, "seeds": [0]}
        | {"per_seed": [{"search": search, "n_groups": n_groups, "purity": purity}]},
        "rarest": {"case": "unbalanced", "n_experts": 4, "seeds": [0]}
        | {"per_seed": [{**RAREST, "others_share": others, **not_own}]},
    }


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"n_supported": 3}, [0]),
        ({"n_supported": 5}, [0]),
        ({"whole": 0.94}, [1]),
        ({"n_groups": 5}, [2]),
        ({"n_groups": None}, [2]),
        ({"pure": 0.97}, [3, 5]),
        ({"alone_in_training": False}, [7]),
        ({"alone": False}, [8]),
        ({"same_mode": False}, [8]),
        ({"others": 0.06}, [8]),
    ],
)
def test_a_check_misses_what_it_is_for(summaries, tables, changes, missed):
    found = checks(**changes)
    targets = summaries.check_targets(found)
    assert len(targets) == 9
    assert [i for i, target in enumerate(targets) if not target["met"]] == missed
    assert "- six, seed 0: said" in tables.checks_part(found)


def test_merged_modes_are_read_as_the_groups_that_the_search_names(rows, cases, folder, monkeypatch):
    job = rows.Job(cases.CASES["two"], "unbraid", 0, cases.QUICK)
    model = rows.own_model(job, folder)
    asked = []

    def found(demos, config):
        asked.append(config.n_modes)
        return model

    monkeypatch.setattr(rows, "fit", found)
    model.search["merge_into"] = [0, 1]
    result = rows.run_too_many(dataclasses.replace(job, row="too_many"), folder)
    assert asked == [8, 2]
    assert result["n_groups"] == 2
    assert result["purity"]["merged"] == result["purity"]["apart"] == result["purity"]["refitted"]
    model.search["merge_into"] = [1, 1]
    result = rows.run_too_many(dataclasses.replace(job, row="too_many"), folder)
    assert asked == [8, 2, 8, 1]
    assert result["purity"]["merged"] == {"25": 0.5, "episode": 0.5}  # two experts with as many episodes each
    del model.search["merge_into"]
    assert rows.run_too_many(dataclasses.replace(job, row="too_many"), folder)["n_groups"] is None


def test_the_rarest_expert_is_the_one_with_the_fewest_training_episodes(rows, cases, folder, monkeypatch):
    case = dataclasses.replace(cases.CASES["two"], name="two_unequal")
    training, held_out = cases.pile_of(cases.CASES["two"], cases.QUICK, 0)
    fewer = training.select(np.concatenate([np.flatnonzero(training.labels == 0), np.flatnonzero(training.labels)[:2]]))
    monkeypatch.setattr(rows, "pile_of", lambda *asked: (fewer, held_out))

    class Told:
        n_modes = 2

        def reads(self, demos):
            return demos.labels

        def predict(self, demos):
            return self.reads(demos)

    monkeypatch.setattr(rows, "own_model", lambda job, folder: Told())
    monkeypatch.setattr(rows, "result_of", lambda job, folder: {"in_own_mode": [1.0, 0.5]})
    job = rows.Job(case, "rarest", 0, cases.QUICK)
    good = rows.run_rarest(job, folder)
    assert good == {
        "expert": "forward",
        "n_training": 2,
        "n_held_out": 4,
        "share": 1.0,
        "share_told_labels": 0.5,
        "others_share": 0.0,
        "alone": True,
        "alone_in_training": True,
        "same_mode": True,
    }
    Told.reads = lambda self, demos: np.zeros_like(demos.labels)
    bad = rows.run_rarest(job, folder)
    assert (bad["others_share"], bad["alone"], bad["alone_in_training"]) == (1.0, False, False)


# The README and the page


def test_the_short_table_names_the_best_other_method(content, tables):
    table = tables.short_table(content["cases"])
    two = content["cases"]["two"]["rows"]
    line = next(line for line in table if line[0] == "two experts of PointGoal1")
    assert line[1:4] == [
        "25 steps",
        tables.of_seeds(two["unbraid"]["nmi"]["combined"]["25"]),
        tables.of_seeds(two["supervised"]["nmi"]["combined"]["25"]),
    ]
    others = [next(iter(two[row]["nmi"].values()))["25"] for row in ("kmeans", "categorical_vae", "talk_1_published")]
    best = max(others, key=lambda numbers: numbers["mean"])
    assert line[4] == tables.of_seeds(best)
    assert line[5] in ("k-means on window statistics", "a VAE with a categorical latent")
    assert len(table) == 4  # with its heading: cases without results have no line


def test_a_fit_is_timed_on_the_clock_and_beside_the_load(content, tables):
    times = {"seconds": {"mean": 12.0, "worst": 14.0}, "processor_s": {"mean": 11.0}, "load_per_core": [0.5, 0.9]}
    assert tables.time_text({"fit_time": {"unbraid": times}}) == (
        "A fit of four experts, 100,000 steps; K given: 12.0 s on the clock (longest 14.0), 11.0 s of the processor, "
        "load up to 0.9 per core."
    )
    assert tables.time_text(content) == ""  # none was fitted


def test_the_readme_has_the_short_table_and_the_page_everything(content, module, tables):
    readme = module("readme_tables")
    part, page = readme.modes_part(content), readme.modes_page(content)
    assert "(docs/results_modes.md)" in part
    assert f"{sum(t['met'] for t in content['targets'])} of {len(content['targets'])} targets are met" in part
    assert "| goal_seeking " in part
    assert "## order" not in part
    assert page.startswith("<!-- Generated by benchmarks/readme_tables.py")
    assert content["markdown"] in page


@pytest.mark.slow
def test_two_experts_are_told_apart(bench, tmp_path):
    asked = ["--cases", "two", "--seeds", "0", "--rows", "unbraid,kmeans", "--folder", str(tmp_path)]
    bench.main([*asked, "--out", str(tmp_path / "modes.json")])
    rows = json.loads((tmp_path / "modes.json").read_text())["cases"]["two"]["rows"]
    found = rows["unbraid"]["nmi"]["combined"]
    assert found["25"]["worst"] >= 0.96
    assert found["episode"]["worst"] == 1.0
    assert found["25"]["worst"] > rows["kmeans"]["nmi"]["statistics"]["25"]["worst"]


def test_probabilities_are_held_against_what_comes_true(content, summaries, tables):
    entries = content["cases"]["two"]["certainty"]
    assert [(e["window_steps"], e["right_is"]) for e in entries] == [
        (steps, right) for steps in (10, 50) for right in ("episode", "expert")
    ]
    for entry in entries:
        assert 0 <= entry["error_low"][0] <= entry["mean"] == entry["worst"] <= entry["error_high"][0] <= 1
        assert entry["n_windows"] == {10: 8 * 39, 50: 8 * 31}[entry["window_steps"]]
        assert 0 <= entry["sure"][0] <= 1
    assert "By chance" in tables.text_of(content)
    good = [e | {"mean": 0.03, "worst": 0.05} for e in entries]
    bad = [e | {"mean": 0.031, "worst": 0.031} for e in entries]
    targets = summaries.certainty_targets({"good": {"certainty": good}, "bad": {"certainty": bad}, "none": {}})
    assert len(targets) == 4
    assert [t["met"] for t in targets] == [False] * 4
    assert all("missed in bad" in t["what"] for t in targets)
    assert all(t["met"] for t in summaries.certainty_targets({"good": {"certainty": good}}))


def test_an_observed_robot_is_timed_and_agrees_with_what_is_read_at_once(content, summaries, tables):
    (found,) = content["online"]["two"]
    assert found["n_steps"] == 8 * 200
    assert 0 < found["median_us"] <= found["p99_us"]
    assert found["largest_difference"] < 1e-5
    assert "While an episode goes on" in tables.text_of(content)
    slow = [found | {"median_us": 101.0}]
    assert [t["met"] for t in summaries.online_targets({"two": slow})] == [False, True]


@pytest.mark.slow
def test_a_style_explains_the_speed_and_leaves_the_modes_alone(bench, tmp_path):
    asked = ["--cases", "own_speeds", "--seeds", "0", "--rows", "style", "--folder", str(tmp_path)]
    bench.main([*asked, "--out", str(tmp_path / "modes.json")])
    content = json.loads((tmp_path / "modes.json").read_text())
    assert [target["met"] for target in content["targets"]] == [True, True, True]
    for speeds in content["style"]["own_speeds"]["per_seed"][0]["swept"].values():
        assert (np.diff(speeds) > 0).all()
        assert speeds[-1] > 1.5 * speeds[0]
