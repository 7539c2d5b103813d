"""Kills, full disks, damage, Ctrl-C: a study survives them, and ends as an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import yaml

from undertow.cli import run as command
from undertow.errors import Unavailable
from undertow.progress import Advance
from undertow.store import BENIGN, Cell, Run, create_run, open_run
from undertow.studies import run as running
from undertow.studies.asked.spec import StudySpec, load_spec
from undertow.studies.done.executors.processes import Processes
from undertow.studies.run import study
from undertow.testing.runs import same_results

BENIGN_DIGITS = Cell("digits_cnn", BENIGN)
FGSM = Cell("digits_cnn", "fgsm")


class AtFirst:
    """A progress that does something when the first unit has been written."""

    def __init__(self, what: Callable[[], None]) -> None:
        self.what: Callable[[], None] | None = what

    @contextmanager
    def __call__(self, title: str, total: float | int, unit: str = "") -> Iterator[Advance]:
        def advance(amount: float | int = 1, note: str = "") -> None:
            if title == "Measuring" and self.what is not None:
                what, self.what = self.what, None
                what()

        yield advance


def test_a_local_worker_that_is_killed_is_replaced(
    small_run: Run, small_spec: StudySpec, fresh_out: Path
) -> None:
    victims = []

    def kill() -> None:
        """Whoever did the first unit has got another one by now."""
        worker = next(r.worker for r in open_run(fresh_out).records.values() if r.worker)
        victims.append(worker)
        os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)

    run = study(small_spec, out=fresh_out, workers=2, progress=AtFirst(kill))
    same_results(small_run, run)
    lost = {record.facts.get("workers_lost") for record in run.records.values()}
    assert lost == {None, 1}
    assert not any("inputs_at_once" in record.facts for record in run.records.values())
    assert victims
    assert not active_children()


@pytest.mark.cluster
def test_a_dask_worker_that_is_killed_is_replaced(
    small_run: Run, small_spec: StudySpec, fresh_out: Path
) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        victim = cluster.workers[0].pid
        progress = AtFirst(lambda: os.kill(victim, signal.SIGKILL))
        address = cluster.scheduler_address
        run = study(small_spec, out=fresh_out, cluster=address, progress=progress)
    same_results(small_run, run)


@contextmanager
def _scheduler(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler and a worker as processes of their own, as on a real cluster."""
    start, quiet = (sys.executable, "-m", "distributed.cli"), {"stderr": subprocess.DEVNULL}
    address = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show")
    wait = ("--death-timeout", "20", "--no-nanny", "--nthreads", "1", "--no-dashboard")
    module = f"{start[2]}.dask_{{}}"
    with (
        subprocess.Popen([*start[:2], module.format("scheduler"), *address], **quiet) as first,
        subprocess.Popen(
            [*start[:2], module.format("worker"), f"tcp://127.0.0.1:{port}", *wait], **quiet
        ) as second,
    ):
        try:
            yield first
        finally:
            first.kill()
            second.kill()


@pytest.mark.cluster
def test_a_dask_scheduler_that_is_lost_is_one_line_and_another_goes_on(
    small_run: Run, small_spec: StudySpec, fresh_out: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    with _scheduler(port) as scheduler:
        progress = AtFirst(scheduler.kill)
        with pytest.raises(Unavailable, match="the Dask scheduler is gone; what was finished"):
            study(small_spec, out=fresh_out, cluster=address, progress=progress)
    done = _done(fresh_out)
    assert 0 < done < len(small_run.records)
    assert open_run(fresh_out).check() == ()
    with _scheduler(port):
        same_results(small_run, study(small_spec, out=fresh_out, cluster=address))


MODEL = """
import os, signal
from multiprocessing import parent_process
from pathlib import Path
from torch import nn
from undertow.models import load_model

class Deadly(nn.Module):
    def __init__(self):
        super().__init__()
        self.normalise = nn.Identity()
        self.network = load_model("digits_cnn")

    def forward(self, x):
        told = Path(__file__).with_suffix(".most")
        if parent_process() is not None and told.exists() and len(x) > int(told.read_text()):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.network(self.normalise(x))

def deadly():
    return Deadly()
"""


@pytest.fixture
def deadly(tmp_path: Path) -> Callable[[int], StudySpec]:
    """A study of benign digits whose model kills every worker that asks it too much at once."""

    def make(most: int) -> StudySpec:
        (tmp_path / "deadly.py").write_text(MODEL)
        (tmp_path / "deadly.most").write_text(str(most))
        return StudySpec.model_validate(
            {
                "name": "deadly",
                "models": [f"{tmp_path}/deadly.py:deadly"],
                "data": {"name": "digits", "inputs": 4},
                "attacks": [{"name": "fgsm"}],
                "follow_only": True,
                "exemplars": 0,
                "references": 2,
                "readers": 0,
                "cross_check": None,
                "questions": [],
                "shard": 4,
            }
        )

    return make


@pytest.mark.filterwarnings("ignore:the model .* shows no normalisation")
def test_what_kills_its_worker_is_tried_with_fewer_inputs(
    deadly: Callable[[int], StudySpec], fresh_out: Path
) -> None:
    spec = deadly(2)
    run = study(spec, out=fresh_out, workers=1)
    record = run.records[Cell(spec.models[0], BENIGN), 0]
    assert record.state == "done"
    assert record.facts["workers_lost"] == 2, "the first death may have been chance"
    assert record.facts["inputs_at_once"] == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the model .* shows no normalisation")
def test_what_kills_every_worker_is_a_failed_shard(
    deadly: Callable[[int], StudySpec], fresh_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "Processes", lambda workers: Processes(workers, tries=2))
    spec = deadly(0)
    run = study(spec, out=fresh_out, workers=1)
    record = run.records[Cell(spec.models[0], BENIGN), 0]
    assert record.state == "failed"
    assert "killed by SIGKILL), 2 times in a row" in str(record.traceback)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB, less than what the small study takes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=4m", "undertow", str(place)]
    if mount is None or os.geteuid() or subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("no leave to mount a small file system")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def small_yaml(small_spec: StudySpec, tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small_spec.plain()))
    return path


def test_a_full_disk_is_one_line_and_the_study_goes_on_when_there_is_room(
    small_disk: Path, small_yaml: Path, small_run: Run, small_spec: StudySpec, capsys: Any
) -> None:
    out = small_disk / "run"
    assert command(["study", str(small_yaml), "--out", str(out), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"the disk that holds '{out}" in said
    assert open_run(out).check() == ()
    assert not list(out.rglob("*.partial")), "nothing half written takes room on a full disk"
    assert 0 < len([r for r in open_run(out).records.values() if r.state == "done"]) < 15
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    same_results(small_run, study(small_spec, out=out))


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("export {run} --format csv --out {disk}/o", marks=pytest.mark.slow),
        pytest.param("export {run} --format parquet --out {disk}/o", marks=pytest.mark.slow),
        "export {run} --format netcdf --out {disk}/o",
        "export {run} --format tensorboard --out {disk}/o",
        pytest.param("runs merge {run} {run} --out {disk}/o", marks=pytest.mark.slow),
        pytest.param("report {run} --out {disk}/o.html", marks=pytest.mark.slow),
        "trace --model digits_cnn --data digits --attack fgsm --out {disk}/o",
    ],
)
def test_a_full_disk_is_one_line_wherever_files_are_written(
    call: str, small_disk: Path, small_run: Run, capsys: Any
) -> None:
    (small_disk / "filler").write_bytes(b"x" * (4 * 2**20 - 3 * 2**14))
    assert command(call.format(run=small_run.path, disk=small_disk).split()) == 2
    said = capsys.readouterr().err.splitlines()
    assert "full" in said[-1]
    assert all(": " in line for line in said), "progress, and no traceback"
    left = [p for p in small_disk.rglob("*") if "partial" in p.name or p.name.startswith(".o")]
    assert not left


def test_damage_is_found_repaired_and_computed_again(
    small_run: Run, small_yaml: Path, small_spec: StudySpec, fresh_out: Path, capsys: Any
) -> None:
    shutil.copytree(small_run.path, fresh_out)
    results = fresh_out / "results.zarr"
    chunk = results / "profiles" / FGSM.slug / "iip" / "c.1.0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    index = small_run.exemplars(Cell("digits_cnn", "jsma"))[1]
    shutil.rmtree(results / "exemplars" / Cell("digits_cnn", "jsma").slug / str(index))
    ledger = (fresh_out / "ledger.jsonl").read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(ledger) if '"done"' in line and BENIGN in line)
    ledger[place] = ledger[place].replace('"done"', '"dome"')
    (fresh_out / "ledger.jsonl").write_text("".join(ledger))

    assert command(["runs", "check", str(fresh_out)]) == 1
    said = capsys.readouterr().out
    assert f"ledger.jsonl, line {place + 1} is damaged" in said
    assert f"profiles/{FGSM.slug}/iip, shard 1 is damaged" in said
    assert f"jsma/{index} is missing" in said
    assert command(["runs", "check", str(fresh_out), "--repair"]) == 0
    assert command(["runs", "check", str(fresh_out)]) == 0
    begun = sum(r.tries for r in small_run.records.values())
    run = study(small_spec, out=fresh_out)
    same_results(small_run, run)
    again = sum(r.tries for r in run.records.values()) - begun
    assert again == 1 + 4 + 2, "one benign shard, fgsm and jsma each with its controls"


def test_a_second_start_of_the_same_run_is_refused(
    small_run: Run, small_spec: StudySpec, fresh_out: Path
) -> None:
    with (
        create_run(fresh_out, small_spec.plain(), {"classes": small_run.manifest["classes"]}),
        pytest.raises(Unavailable, match=f"is being written by process {os.getpid()}"),
    ):
        study(small_spec, out=fresh_out)
    same_results(small_run, study(small_spec, out=fresh_out))


def _start(spec: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """A study in a process group of its own."""
    line = [sys.executable, "-m", "undertow", "study", str(spec), "--out", str(out), "--quiet"]
    return subprocess.Popen(
        [*line, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def _members(group: int) -> list[int]:
    """Processes of a group that still run (not zombies)."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(place.name))
    return found


def _gone(group: int, seconds: float) -> bool:
    """Whether a process group ends within some seconds."""
    end = time.monotonic() + seconds
    while _members(group):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _done(out: Path) -> int:
    if not (out / "manifest.json").is_file():
        return 0
    return sum(r.state == "done" for r in open_run(out).records.values())


def test_ctrl_c_with_workers_ends_everybody(small_yaml: Path, fresh_out: Path) -> None:
    with _start(small_yaml, fresh_out, "--workers", "2") as process:
        try:
            while not _done(fresh_out) and process.poll() is None:
                time.sleep(0.05)
            assert len(_members(process.pid)) >= 3
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
            assert process.wait(10) == 130
            assert _gone(process.pid, 5), "processes are left behind"
        finally:
            if _members(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.stderr is not None
        assert process.stderr.read() == "undertow: interrupted; what was finished is kept\n"
    assert open_run(fresh_out).check() == ()


def _survives(
    undisturbed: Run, spec: Path, options: tuple[str, ...], tmp_path: Path, kills: int, last: float
) -> None:
    """Kill a study so often, each time within ``last`` seconds; one that ends is begun anew."""
    draw, left, number = random.Random(len(options)), kills, 0
    while left:
        out, before = tmp_path / f"run{number}", 0
        while left:
            with _start(spec, out, *options) as process:
                time.sleep(draw.uniform(0.5, last))
                ended = process.poll() is not None
                process.kill()  # the workers must notice by themselves
            assert _gone(process.pid, 10), "workers outlive the run"
            if ended:
                break
            left -= 1
            now = _done(out)
            assert now >= before, "a shard that was done is undone"
            before = now
            if (out / "manifest.json").is_file():
                assert open_run(out).check() == ()
        number += 1
        same_results(undisturbed, study(spec, out=out))
        assert not list(out.rglob("*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["in_process", "workers"])
def test_a_study_killed_at_random_moments_ends_as_an_undisturbed_one(
    options: tuple[str, ...], small_run: Run, small_yaml: Path, tmp_path: Path
) -> None:
    """Fifteen kills with and without workers: thirty in all."""
    _survives(small_run, small_yaml, options, tmp_path, kills=15, last=8)


@pytest.mark.slow
def test_a_study_of_cifar10_with_workers_survives_thirty_kills(tmp_path: Path) -> None:
    plain = load_spec("quick").plain()
    plain["data"] |= {"inputs": 12}
    spec = tmp_path / "quick.yaml"
    spec.write_text(yaml.safe_dump(plain | {"shard": 4, "exemplars": 3}))
    undisturbed = study(spec, out=tmp_path / "undisturbed", workers=2)
    _survives(undisturbed, spec, ("--workers", "2"), tmp_path, kills=30, last=30)
