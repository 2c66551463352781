#!/usr/bin/env python3
"""Tests one wheel of wse-client on every Python from 3.10 to 3.13 that this machine has.

    python3 python/run_tests.py --wheel dist/wse_client-0.1.0-….whl --server target/debug/wse-server

The first version of --full (default 3.11, else the newest found) runs the whole suite and the type checks; the others
run the tests marked `smoke`. Ends with a line that names the versions that ran and those that were not found. Fails
when a test fails, and when no version was found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

VERSIONS = ["3.10", "3.11", "3.12", "3.13"]
PROJECT = Path(__file__).resolve().parent / "wse-client"


def main() -> int:
    args = arguments()
    found = {version: python for version in VERSIONS if (python := find(version)) is not None}
    missing = [version for version in VERSIONS if version not in found]
    if not found:
        print(f"no Python of {', '.join(VERSIONS)} found in PATH or ~/.pyenv/versions", file=sys.stderr)
        return 1
    full = args.full if args.full in found else list(found)[-1]
    failed = []
    for version, python in found.items():
        started = time.monotonic()
        ok = run(version, python, args, is_full=version == full)
        print(f"== Python {version}: {'ok' if ok else 'FAILED'} in {time.monotonic() - started:.0f} s", flush=True)
        if not ok:
            failed.append(version)
    print(f"ran on Python {', '.join(found)} (whole suite on {full})" + (f"; not found: {', '.join(missing)}" if missing else ""))
    if failed:
        print(f"failed on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--server", type=Path, required=True, help="the wse-server binary")
    parser.add_argument("--venvs", type=Path, default=PROJECT.parents[1] / "target" / "venvs", help="kept between runs")
    parser.add_argument("--full", default="3.11", help="the version that runs the whole suite")
    args = parser.parse_args()
    for name in ("wheel", "server"):
        path = getattr(args, name)
        if not path.is_file():
            parser.error(f"--{name}: {path} does not exist")
        setattr(args, name, path.resolve())
    return args


def find(version: str) -> Path | None:
    """The interpreter of a version that really starts: pyenv's stand-ins in PATH may not."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)
    if named := shutil.which(f"python{version}"):
        candidates.append(Path(named))
    for candidate in candidates:
        probe = [str(candidate), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(probe, capture_output=True, text=True)
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return candidate
    return None


def run(version: str, python: Path, args: argparse.Namespace, *, is_full: bool) -> bool:
    print(f"== Python {version} ({python}): {'whole suite' if is_full else 'smoke tests'}", flush=True)
    home: Path = args.venvs / version
    inside = home / "bin" / "python"
    if not inside.is_file():
        subprocess.run([str(python), "-m", "venv", str(home)], check=True)
    extras = "[test,typing]" if is_full else "[test]"
    install(inside, "--quiet", f"{args.wheel}{extras}", "uvloop")
    # The wheel again, by force: its version does not change between two builds.
    install(inside, "--quiet", "--force-reinstall", "--no-deps", str(args.wheel))
    environment = {**os.environ, "WSE_SERVER_BIN": str(args.server), "PYTHONDONTWRITEBYTECODE": "1"}
    selection = [] if is_full else ["-m", "smoke"]
    steps = [[str(inside), "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "-q", *selection]]
    if is_full:
        steps += [
            [str(inside), "-m", "mypy", "--no-incremental"],
            [str(inside), "-m", "mypy.stubtest", "wse_client._core"],
        ]
    return all([subprocess.run(step, cwd=PROJECT, env=environment).returncode == 0 for step in steps])


def install(python: Path, *what: str) -> None:
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *what]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
