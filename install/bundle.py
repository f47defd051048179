"""All wheels of a pinned install, in parts of at most 45 MB, with the script that installs them without a network.

    python install/bundle.py [--out dist/bundle] [--extras tiny] [--wheels FOLDER] [--part-mb 45]

Run it with the Python that is to be installed for: the bundle is for that version and platform alone. Source packages are
built into wheels, in this environment (DeepSpeed's needs torch at hand). The folder then holds

    unigrpo.tar.000, .001, ...   the wheels, joined and cut by ``split``
    SHA256SUMS                   of the parts
    FOR                          the Python and the platform, e.g. ``3.11 linux-x86_64``
    WHAT                         what is installed, e.g. ``unigrpo[tiny]==0.1.0``
    install.sh                   checks, joins and installs: ``./install.sh [VENV]``
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parent.parent
PART_MB = 45
NAME = "unigrpo"


def collect(folder: Path, extras: str) -> None:
    """Wheels of this checkout and of everything that it needs, at the versions of constraints.txt."""
    with tempfile.TemporaryDirectory() as scratch:  # a build leaves folders behind
        source = Path(scratch)
        for name in ("rl", "rewards", "policies", "cluster"):
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
            shutil.copyfile(ROOT / name, source / name)
        wanted = f"{source}[{extras}]" if extras else str(source)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-build-isolation"]
        command = [*pip, "--constraint", str(ROOT / "constraints.txt"), "--wheel-dir", str(folder), wanted]
        subprocess.run(command, check=True, env={**os.environ, "DS_BUILD_OPS": "0"})


def pack(wheels: Path, out: Path, part_bytes: int, extras: str) -> list[Path]:
    """The parts, in order. Raises SystemExit with one line where ``wheels`` has not exactly one of ours."""
    found = sorted(wheels.glob("*.whl"))
    ours = [wheel for wheel in found if wheel.name.startswith(f"{NAME}-")]
    if len(ours) != 1:
        raise SystemExit(f"error: --wheels {wheels}: {len(ours)} wheels of {NAME}; it must have one")
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob(f"{NAME}.tar.*"), out / "SHA256SUMS"):
        old.unlink(missing_ok=True)
    names = "\n".join(wheel.name for wheel in found)
    tar = subprocess.Popen(
        ["tar", "--create", "--directory", wheels, "--files-from", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    split = subprocess.Popen(
        ["split", f"--bytes={part_bytes}", "--numeric-suffixes", "--suffix-length=3", "-", out / f"{NAME}.tar."],
        stdin=tar.stdout,
    )
    assert tar.stdin is not None and tar.stdout is not None
    tar.stdout.close()
    tar.stdin.write(names.encode())
    tar.stdin.close()
    if tar.wait() or split.wait():
        raise SystemExit(f"error: --out {out}: tar or split failed; see above")
    parts = sorted(out.glob(f"{NAME}.tar.*"))
    digests = (f"{_sha256(part)}  {part.name}\n" for part in parts)
    (out / "SHA256SUMS").write_text("".join(digests))
    (out / "FOR").write_text(f"{built_for()}\n")
    (out / "WHAT").write_text(f"{NAME}{f'[{extras}]' if extras else ''}=={_version(ours[0])}\n")
    shutil.copy(Path(__file__).with_name("install.sh"), out / "install.sh")
    return parts


def built_for() -> str:
    """Python's version and platform, as ``install.sh`` asks for it."""
    return f"{sys.version_info.major}.{sys.version_info.minor} {sysconfig.get_platform()}"


def _version(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return str(Parser().parsestr(archive.read(name).decode())["Version"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "bundle")
    parser.add_argument("--extras", default="tiny", help="of pyproject.toml, with commas; empty: none")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels that are there already")
    parser.add_argument("--part-mb", type=float, default=PART_MB, help="a part has at most so many million bytes")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        wheels = options.wheels or Path(scratch)
        if options.wheels is None:
            collect(wheels, options.extras)
        count, size = len(list(wheels.glob("*.whl"))), sum(wheel.stat().st_size for wheel in wheels.glob("*.whl"))
        parts = pack(wheels, options.out, int(options.part_mb * 1_000_000), options.extras)
    print(f"{options.out}: {count} wheels, {size / 1e6:,.1f} MB, in {len(parts)} parts, for Python {built_for()}")
    print(
        f"copy the folder, and there: ./install.sh [VENV]   (PYTHON=/path/to/python{built_for().split()[0]} picks one)"
    )


if __name__ == "__main__":
    main()
