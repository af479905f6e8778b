"""Each response against its formula."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbnumba
from nbnumba.cli.main import main
from nbnumba.experiment import advice
from nbnumba.image.image import Block
from nbnumba.response.chain import responded
from nbnumba.response.counts import INT32
from nbnumba.response.readout import Frame, Readout
from nbnumba.stages.chosen import prepared
from nbnumba.stages.kinds import ORDER, Response
from nbnumba.stages.registry import installed

BASE = "-default_F 100 -cell 50 60 70 -lambda 1 -distance 50 -N 4 -detpixels 12 -pixel 1 -oversample 1"
EDGE = 300
RATES = 10.0 ** np.arange(-2.0, 6.0)  # photons of a pixel, over seven decades


def frame_of(values: np.ndarray, **readout: Any) -> Frame:
    everything = np.s_[0 : values.shape[0], 0 : values.shape[1]]
    return Frame(Readout(**{"seed": 7, "held": INT32, **readout}), Block(everything[0], values, everything))


def through(chain: str, values: np.ndarray, frame: Frame | None = None, options: str = "", **parameters: float) -> np.ndarray:
    """What a chain of stages makes of values."""
    set_to = " ".join(f"--set {name}={value!r}" for name, value in parameters.items())
    experiment = nbnumba.experiment_from_options(f"{BASE} --preset physics {options} --response {chain} {set_to}")
    stages: list[Any] = [installed().get("response", name) for name in chain.split(",")]
    prepared_stages = [(stage, prepared(stage, experiment)) for stage in stages]
    return np.vstack([found for _, found in responded(prepared_stages, frame or frame_of(values))])


def flat(value: float) -> np.ndarray:
    return np.full((EDGE, EDGE), value)


def close(found: np.ndarray, mean: float, variance: float, kurtosis: float = 0.0) -> None:
    """Moments of that many pixels, within four standard errors; kurtosis: beyond a normal distribution's."""
    assert found.mean() == pytest.approx(mean, abs=4.0 * math.sqrt(variance / found.size) + 1e-12 * mean)
    assert found.var() == pytest.approx(variance, rel=4.0 * math.sqrt((2.0 + kurtosis) / found.size))


@pytest.mark.spec("RSP-31", "RSP-35", "RSP-36", "RSP-37", "RSP-38", "RSP-44")
@pytest.mark.parametrize("n", RATES)
def test_moments_over_seven_decades(n: float) -> None:
    """Counting noise of what an efficiency leaves; factors; noise that is added."""
    seen = 0.7 * n
    close(through("efficiency,counting", flat(n), efficiency=0.7), seen, seen, 1.0 / seen)
    close(through("flicker", flat(n), flicker=0.03), n, (0.03 * n) ** 2)
    close(through("calibration", flat(n), calibration=0.02), n, (0.02 * n) ** 2)
    close(through("gain,readout-noise,offset", flat(n), frame_of(flat(n), offset=40.0), gain=1.7, readout_noise=3.0), 1.7 * n + 40.0, 9.0)
    close(through("dark-current", flat(0.0), options="-exposure 2", dark_current=float(n / 2.0)), n, n, 1.0 / n)


@pytest.mark.spec("RSP-40", "RSP-41", "RSP-42")
@pytest.mark.parametrize("n", [*RATES, 2e6, 1e7])
def test_moments_of_pile_up(n: float) -> None:
    """Dead times of a microsecond in a second: a photon in 10^8 of them, to ten in each."""
    x = 1e-6 * n
    q = math.exp(-x)
    moments = {
        "paralysable": (n * q, n * q * (1.0 - 2.0 * x * q)),
        "nonparalysable": (n / (1.0 + x), n / (1.0 + x) ** 3),
        "retriggering": (n / (x + q), n * (2.0 * q - q * q) / (x + q) ** 3),
    }
    for kind, (mean, variance) in moments.items():
        found = through(f"counting,pileup-{kind}", flat(n), dead_time=1e-6)
        assert (found == np.floor(found)).all()
        close(found, mean, variance, 1.0 / n)


@pytest.mark.spec("RSP-40", "RSP-41", "RSP-42")
@pytest.mark.parametrize("kind", ["paralysable", "nonparalysable", "retriggering"])
@pytest.mark.parametrize("x", [0.1, 0.7, 2.0])
def test_pile_up_of_photons_one_by_one(kind: str, x: float) -> None:
    """Of exposures of 400 dead times, whose ends matter by a count or two."""
    random, length, trials = np.random.default_rng(5), 400.0, 300
    found = np.empty(trials)
    for trial in range(trials):
        times = np.sort(random.random(random.poisson(x * length)) * length)
        found[trial] = one_by_one(times, kind)
    drawn = through(f"counting,pileup-{kind}", flat(x * length), dead_time=1.0 / length)
    error = math.sqrt(drawn.var() / trials)
    assert found.mean() == pytest.approx(drawn.mean(), abs=4.0 * error + 1.0)
    assert found.var() == pytest.approx(drawn.var(), rel=4.0 * math.sqrt(2.0 / trials) + 0.02)


def one_by_one(times: np.ndarray, kind: str) -> int:
    """Counts of photons at these times, with a dead time of 1."""
    counts, end, waiting = 0, -1.0, False  # of the dead time; whether a photon came in it
    for time in times:
        while waiting and time >= end:  # the counter starts again at the end of a dead time
            counts, end, waiting = counts + 1, end + 1.0, False
        if time >= end:
            counts, end = counts + 1, time + 1.0
        elif kind == "paralysable":
            end = time + 1.0
        elif kind == "retriggering":
            waiting = True
    return counts


@pytest.mark.spec("RSP-43")
@pytest.mark.parametrize(("n", "gain", "noise"), [(5.0, 40.0, 0.8), (200.0, 1.0, 3.0), (5000.0, 0.1, 30.0)])
def test_moments_of_three_ranges(n: float, gain: float, noise: float) -> None:
    """Of JUNGFRAU's gains; the converter's steps add a twelfth of their square."""
    energy = 12.398419843320026
    found = through("gain-switching", flat(n), noise_high=0.8, noise_medium=3.0, noise_low=30.0)
    variance = (noise**2 + 1.0 / (12.0 * gain**2)) / energy**2
    close(found, n, variance)
    np.testing.assert_allclose(found * energy * gain, np.rint(found * energy * gain), atol=1e-6)
    assert through("gain-switching", flat(1e6)).max() == pytest.approx(12_000 / energy * 10.0, rel=1e-6)


@pytest.mark.spec("RSP-36")
def test_calibration_is_the_same_in_all_images_and_for_any_seed_of_theirs() -> None:
    images = [through("calibration", flat(1.0), frame_of(flat(1.0), seed=seed, number=n), calibration=0.1) for seed, n in ((1, 0), (2, 3))]
    np.testing.assert_array_equal(*images)
    assert (through("calibration", flat(1.0), calibration=0.1, calibration_seed=5.0) != images[0]).any()


@pytest.mark.spec("RSP-36")
def test_modules_have_factors_of_their_own() -> None:
    found = through("calibration", flat(1.0), calibration_modules=0.1, module_fast=100.0, module_slow=150.0)
    assert np.unique(found).size == 6
    assert np.unique(found[:150, :100]).size == np.unique(found[150:, 200:]).size == 1
    assert np.unique(through("calibration", flat(1.0), calibration_modules=0.1)).size == 1
    assert found[0, 0] != through("calibration", flat(1.0), calibration=0.1)[0, 0]


@pytest.mark.spec("RSP-45", "RSP-49")
def test_hot_and_dead_pixels() -> None:
    shares = {"dead_pixels": 0.01, "hot_pixels": 0.002, "hot_counts": 500.0}
    found = through("offset,defects", flat(3.0), frame_of(flat(3.0), offset=40.0), **shares)
    assert (found == 40.0).mean() == pytest.approx(0.01, rel=0.1)
    assert (found == 543.0).mean() == pytest.approx(0.002, rel=0.2)
    assert ((found == 43.0) | (found == 40.0) | (found == 543.0)).all()
    known = through("offset,defects,mask", flat(3.0), frame_of(flat(3.0), offset=40.0), **shares)
    np.testing.assert_array_equal(np.isneginf(known), found != 43.0)


@pytest.mark.spec("RSP-49")
@pytest.mark.parametrize(("name", "mark"), [("a_1.cbf", -1), ("a.img", 0)])
def test_masked_pixels_are_marked_where_a_format_can(name: str, mark: int, tmp_path: Path) -> None:
    experiment = nbnumba.experiment_from_options(f"{BASE} --response counting,defects,mask,offset,rounding --set dead_pixels=0.2")
    nbnumba.simulate(experiment).save(tmp_path / name, seed=1)
    found = nbnumba.read_image(tmp_path / name)
    assert 10 < np.count_nonzero(found == mark) < 70


@pytest.mark.spec("RSP-46", "RSP-48")
def test_limits() -> None:
    values = np.array([[-3.0, 0.4, 0.5, 254.7, 300.0]])
    np.testing.assert_array_equal(through("saturation", values, saturation=250.0), [[-3.0, 0.4, 0.5, 250.0, 250.0]])
    np.testing.assert_array_equal(through("saturation", values), values)
    np.testing.assert_array_equal(through("saturation", values * 1e7, options="--detector pilatus-1m"), np.minimum(values * 1e7, 1048500.0))
    np.testing.assert_array_equal(through("bit-depth", values, bits=8.0), [[0.0, 0.0, 1.0, 255.0, 255.0]])


RANDOM = "counting,flicker,calibration,gain,readout-noise,offset,pileup-retriggering,gain-switching,dark-current,defects,mask"
LEVELS = {
    "flicker": 0.1, "calibration": 0.1, "calibration_modules": 0.1, "module_fast": 7.0, "module_slow": 9.0, "gain": 1.5,
    "readout_noise": 2.0, "dead_time": 1e-4, "noise_high": 5.0, "dark_current": 3.0, "dead_pixels": 0.05, "hot_pixels": 0.05,
}  # fmt: skip


@pytest.mark.spec("RSP-30", "RSP-52")
@pytest.mark.parametrize("chain", [RANDOM, RANDOM.replace("flicker", "psf-gauss,flicker")])
def test_counts_do_not_depend_on_blocks(chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region of interest, some rows at a time, with a mask."""
    photons = np.random.default_rng(2).lognormal(2.0, 2.0, (60, 41)).astype(np.float32)
    region, mask = np.s_[3:57, 5:40], np.random.default_rng(3).random((60, 41)) < 0.9
    block = Block(slice(0, 60), photons, region, mask, 2)
    levels = LEVELS | ({"psf_gauss": 1e-3} if "psf" in chain else {})

    def counts() -> np.ndarray:
        return through(chain, photons, Frame(Readout(3, 1.0, 40.0, 5), block), **levels)

    monkeypatch.setattr("nbnumba_plugins.response_psf.spread_of", of_any_panel)
    whole = counts()
    monkeypatch.setattr("nbnumba.image.image.PIXELS_PER_BLOCK", 100)
    np.testing.assert_array_equal(counts(), whole)
    if "psf" not in chain:
        rows = Block(slice(20, 31), photons[20:31], np.s_[0:11, 5:40], mask[20:31], 2)
        part = through(chain, photons[20:31], Frame(Readout(3, 1.0, 40.0, 5), rows), **levels)
        np.testing.assert_array_equal(part, whole[17:28])


def of_any_panel(stage: Response, parameter: str, experiment: nbnumba.Experiment) -> Any:
    from nbnumba_plugins.response_psf import Spread

    return Spread((1.2, 1.2, 1.2), 1e-3)


@pytest.mark.spec("RSP-30")
@pytest.mark.parametrize("name", ["flicker", "readout-noise", "dark-current", "gain-switching", "pileup-paralysable"])
def test_each_stage_has_numbers_of_its_own(name: str) -> None:
    """Uncorrelated with counting noise, with another image's and with another panel's."""
    values = flat(100.0)
    levels = {
        "flicker": {"flicker": 0.1}, "readout-noise": {"readout_noise": 3.0}, "dark-current": {"dark_current": 20.0},
        "gain-switching": {"noise_medium": 5.0}, "pileup-paralysable": {"dead_time": 5e-3},
    }[name]  # fmt: skip
    counting = through("counting", values)
    base = frame_of(values)
    found = [
        counting,
        through(name, values, **levels),
        through(name, values, frame_of(values, number=1), **levels),
        through(name, values, frame_of(values, seed=8), **levels),
        through(name, values, Frame(base.readout, base.block._replace(panel=1)), **levels),
    ]
    correlations = np.corrcoef([one.ravel() for one in found]) - np.eye(len(found))
    assert np.abs(correlations).max() < 5.0 / EDGE


@pytest.mark.spec("RSP-30")
def test_without_noise_the_mean_is_left() -> None:
    values = np.array([[0.0, 1.0, 50.0, 1e4]])
    levels = {
        name: value for name, value in LEVELS.items() if name not in ("calibration", "calibration_modules", "dead_pixels", "hot_pixels")
    }
    levels |= {"dead_time": 0.0, "calibration": 0.0}
    chain = "counting,flicker,calibration,gain,readout-noise,offset,pileup-retriggering,dark-current,defects"
    levels = {name: value for name, value in levels.items() if not name.startswith(("module", "noise"))}
    found = through(chain, values, frame_of(values, seed=None, offset=40.0), **levels)
    np.testing.assert_allclose(found, 1.5 * values + 40.0 + 3.0, rtol=1e-14)


@pytest.mark.spec("RSP-39")
def test_added_responses_come_in_their_order() -> None:
    chain = Response.of.usual
    for name in reversed(ORDER):
        chain = chain if name in chain.split(",") else Response.added(chain, name)
    assert chain == ",".join(ORDER)
    assert Response.added(chain, "of-a-stranger").split(",")[9:11] == ["of-a-stranger", "offset"]
    assert {stage.name for stage, _ in installed() if stage.kind == "response"} == {*ORDER, "simtbx"}


@pytest.mark.spec("RSP-39")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            "--set gain=2",
            "model.parameters.gain: is set, and no response has it; give --plugin response=gain or --plugin response=simtbx, or",
        ),
        ("--plugin response=gain --set gain=-1", "model.parameters.gain: -1.0 1/photon: must be greater than 0"),
        ("--plugin response=bit-depth --set bits=7.5", "model.parameters.bits: 7.5 bit: must be a whole number"),
        ("--plugin response=psf-gauss --set psf_lost=1", "model.parameters.psf_lost: 1.0: must be less than 1"),
    ],
)
def test_parameters_that_say_nothing_are_refused(options: str, told: str) -> None:
    with pytest.raises(nbnumba.ParameterError) as refused:
        nbnumba.simulate(nbnumba.experiment_from_options(f"{BASE} {options}"))
    assert str(refused.value).startswith(told)


@pytest.mark.spec("RSP-31", "RSP-37")
def test_on_the_command_line_in_a_file_and_in_python(tmp_path: Path) -> None:
    """The same counts, whichever way parameters come."""
    options = "--plugin response=gain --plugin response=efficiency --set gain=3 --set efficiency=0.5"
    of_options = nbnumba.experiment_from_options(f"{BASE} {options}")
    stages = {"response": "efficiency,counting,gain,offset,rounding"}
    model = nbnumba.Model(stages=stages, parameters={"gain": 3.0, "efficiency": 0.5})
    assert of_options.model == model
    nbnumba.save_experiment(of_options, tmp_path / "a.toml")
    of_file = nbnumba.load_experiment(tmp_path / "a.toml")
    images = [nbnumba.simulate(experiment) for experiment in (of_options, of_file)]
    for n, image in enumerate(images):
        image.save(tmp_path / f"{n}.img", seed=3)
    counts = [nbnumba.read_image(tmp_path / f"{n}.img") for n in (0, 1)]
    np.testing.assert_array_equal(*counts)
    np.testing.assert_array_equal(counts[0] % 3, 0)


NAMED = "-default_F 1 -cell 50 50 50 -lambda 1.5 -distance 100 -N 1 -exposure 0.01 -roi 0 20 0 20"


@pytest.mark.spec("RSP-53")
@pytest.mark.parametrize(
    ("options", "chain", "parameters"),
    [
        ("--detector pilatus3-6m", "counting,offset,saturation,rounding,bit-depth", {"saturation": 1e5, "bits": 20.0}),
        ("--detector pilatus3-6m -exposure 1", "counting,offset,saturation,rounding,bit-depth", {"saturation": 1048500.0, "bits": 20.0}),
        ("--detector eiger2-1m", "counting,offset,rounding,bit-depth", {"bits": 32.0}),
        (
            "--detector agipd-1m",
            "counting,readout-noise,offset,saturation,rounding,bit-depth",
            {"readout_noise": 0.083 * 12.0 / (12.398419843320026 / 1.5), "saturation": 14518.0},
        ),
        ("--detector adsc-q315", "counting,psf-fiber,offset,saturation,rounding,bit-depth", {"psf_fiber": 4.2e-5, "saturation": 65000.0}),
        (
            "--detector eiger2-1m --plugin response=calibration --set calibration_modules=0.02",
            "counting,calibration,offset,rounding,bit-depth",
            {"bits": 32.0, "calibration_modules": 0.02, "module_fast": 1040.0, "module_slow": 550.0},
        ),
        ("--detector eiger2-1m --set bits=16", "counting,offset,rounding,bit-depth", {"bits": 16.0}),
        (
            "--detector eiger2-1m --plugin response=gain --set gain=2",
            "counting,gain,offset,rounding,bit-depth",
            {"bits": 32.0, "gain": 2.0},
        ),
    ],
)
def test_responses_of_detectors_by_name(options: str, chain: str, parameters: dict[str, float]) -> None:
    found = nbnumba.experiment_from_options(f"{NAMED} --response detector {options}").model
    assert found.stages["response"] == chain
    for name, value in parameters.items():
        assert found.parameters[name] == pytest.approx(value, rel=1e-7)


@pytest.mark.spec("RSP-53")
def test_explain_says_what_responses_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *NAMED.split(), *"--response detector --detector agipd-1m --set readout_noise=0.5 --json".split()]) == 0
    found = json.loads(capsys.readouterr().out)["response"]
    assert found == {"readout-noise": {"readout_noise": 0.5}, "saturation": {"saturation": 14518.0}, "bit-depth": {"bits": 32.0}}


@pytest.mark.spec("RSP-53", "RSP-43")
def test_jungfraus_response(capsys: pytest.CaptureFixture[str]) -> None:
    found = nbnumba.experiment_from_options(f"{NAMED} --response detector --detector jungfrau-1m").model
    assert found.stages["response"] == "counting,offset,gain-switching,saturation,rounding,bit-depth"
    assert found.parameters["gain_high"] == 40.0
    assert main(["detectors", "jungfrau-1m"]) == 0
    assert "    parameters = gain_high 40, gain_medium 1, gain_low 0.1, end_high 320" in capsys.readouterr().out


@pytest.mark.spec("RSP-53", "DET-1")
@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('parameters = { gain_high = "much" }', "response.parameters: {'gain_high': 'much'} must be a table of name = finite number"),
        ("noise = 3", "response: has no 'noise'; it has stages, parameters, source"),
    ],
)
def test_a_response_of_a_file_that_is_none(table: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'like = "jungfrau-1m"\n[response]\n{table}\n')
    assert main(["detectors", str(path)]) == 2
    assert capsys.readouterr().err == f"nbnumba: error: {path}: {told}\n"


@pytest.mark.spec("RSP-53")
def test_the_response_of_no_detector() -> None:
    with pytest.raises(nbnumba.OptionError, match="--response detector: name the detector, --detector NAME"):
        nbnumba.experiment_from_options(f"{BASE} --response detector")


@pytest.mark.spec("RSP-48")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", False),
        ("--plugin response=efficiency --plugin response=defects", False),
        ("--plugin response=gain --plugin response=readout-noise", True),
        ("--plugin response=gain --plugin response=readout-noise --plugin response=bit-depth", False),
        ("--response simtbx", False),
    ],
)
def test_fractions_that_are_dropped_are_said(options: str, said: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *BASE.split(), *options.split()]) == 0
    told = "fractions that gain, readout-noise leave are dropped, half a count on average; --plugin response=bit-depth rounds them"
    assert (told in capsys.readouterr().out) == said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--plugin response=psf-gauss", ["response psf-gauss changes nothing; give --set psf_gauss=VALUE"]),
        ("--plugin response=defects", ["response defects changes nothing; give --set dead_pixels=VALUE or hot_pixels=VALUE"]),
        ("--plugin response=defects --set hot_pixels=0.1", []),
        ("--plugin response=gain-switching --plugin response=bit-depth", []),
    ],
)
def test_a_response_without_its_parameter_is_said_to_change_nothing(options: str, told: list[str]) -> None:
    notes = advice.of_responses(nbnumba.experiment_from_options(f"{BASE} {options}"))
    assert [note for note in notes if "changes nothing" in note] == told


@pytest.mark.parametrize("name", advice.IDLE)
def test_it_does_change_nothing(name: str) -> None:
    photons = np.random.default_rng(1).poisson(50.0, (40, 40)).astype(float)
    np.testing.assert_array_equal(through(name, photons), photons)
