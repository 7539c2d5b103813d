"""Check what `make dist` built, install the wheel where no checkout is, and use it there.

Usage: python .ci/try_wheel.py DIST [--extras]

With ``--extras`` each extra is installed, too, and one thing that needs it is tried. Prints how
long the installation took and how large it is, beside torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {
    "viewer": ["-c", "import undertow.viewer"],
    "cluster": ["-c", "import distributed, undertow.studies.done.executors.dask_worker"],
    "export": ["-m", "undertow", "export", "run", "--format", "netcdf", "--out", "nc"],
    "tensorboard": ["-m", "undertow", "export", "run", "--format", "tensorboard", "--out", "tb"],
    "wandb": ["-m", "undertow", "export", "run", "--format", "wandb"],
    "mlflow": ["-c", "import mlflow, undertow.report.tracking"],  # exports need a server
    "attacks": [
        "-c",
        """
import undertow as ut, foolbox
from art.attacks.evasion import FastGradientMethod
from art.estimators.classification import PyTorchClassifier
model, (x, y) = ut.load_model("digits_cnn"), ut.load_data("digits")[:4]
seen = ut.attacks.listen(foolbox.attacks.LinfPGD(), model, x, y, epsilons=0.2)
assert bool(seen.success.all())
""",
    ],
}
OFFLINE = {"WANDB_MODE": "offline"}
STUDY = """
name: tried
models: [digits_cnn]
data: {name: digits, inputs: 12}
attacks: [{name: igsm, settings: {epsilon: 0.2}, control: [transplant]}]
exemplars: 1
readers: 300
"""


def sh(*words: object, cwd: Path | None = None) -> str:
    """Run a command; what it printed. Ends everything where it fails."""
    line = [str(word) for word in words]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env = {**clean, **OFFLINE}
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(line)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def size(folder: Path) -> int:
    """MiB of files."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) // 2**20


def main(dist: Path, extras: bool) -> None:
    """All of it, in a folder that is removed afterwards."""
    wheels = sorted(dist.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    sources = sorted(dist.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime)
    if not (wheels and sources):
        sys.exit(f"no wheel and sdist in {dist}")
    wheel, source = wheels[-1].resolve(), sources[-1].resolve()
    sh(sys.executable, "-m", "twine", "check", "--strict", wheel, source)
    sh(sys.executable, "-m", "check_wheel_contents", wheel)
    print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.1f} MiB, checked")
    with TemporaryDirectory() as folder:
        place = Path(folder)
        venv.create(place / "env", with_pip=True)
        python = place / "env" / "bin" / "python"
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        sh(*pip, "-r", ROOT / "requirements" / "torch.txt")
        before, start = size(place / "env"), time.monotonic()
        sh(*pip, wheel)
        took, more = time.monotonic() - start, size(place / "env") - before
        print(f"installed beside torch in {took:.0f} s, {more} MiB")
        (place / "study.yaml").write_text(STUDY, encoding="utf-8")
        home = sh(python, "-c", "import undertow; print(undertow.__file__)", cwd=place).strip()
        if not home.startswith(folder):
            sys.exit(f"tried the wrong undertow: {home}")
        undertow = place / "env" / "bin" / "undertow"
        doctor = json.loads(sh(undertow, "doctor", "--json", cwd=place))
        print("absent:", ", ".join(one["what"] for one in doctor if one["state"] == "absent"))
        said = sh(undertow, "explain", "digits:7", "--model", "digits_cnn", "--attack", "igsm",
                  "--set", "epsilon=60/255", "--quiet", cwd=place)  # fmt: skip
        print(said.splitlines()[0])
        study = sh(undertow, "study", "study.yaml", "--out", "run", "--quiet", cwd=place)
        print(study.splitlines()[-1])
        for extra, words in EXTRAS.items() if extras else ():
            sh(*pip, f"{wheel}[{extra}]")
            sh(python, *words, cwd=place)
            print(f"extra {extra}: works")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), "--extras" in sys.argv[2:])
