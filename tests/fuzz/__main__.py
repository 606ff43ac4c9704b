"""Fuzz all targets, or those named: `python -m fuzz [TARGET ...]`, from the folder of the tests."""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz import runner
from fuzz.targets import TARGETS, corpus

KEPT = Path(__file__).parents[2] / "build" / "fuzz"


def main() -> int:
    options = _options()
    names = options.targets or list(TARGETS)
    if unknown := sorted(set(names) - set(TARGETS)):
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if options.engine == "atheris":
        from fuzz.guided import run_guided

        results = (run_guided(name, options.seconds, KEPT) for name in names)
        return max(map(_report, results), default=0)
    runner.start_server()
    if options.replay:
        return _report(runner.replay(names[0], options.replay))
    with ThreadPoolExecutor(options.workers) as pool:
        return max(pool.map(lambda name: _report(_run(name, options)), names), default=0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="names; default all of them")
    parser.add_argument("--inputs", type=int, default=100_000, help="for each target (100,000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first batch of a thousand: others differ")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (all cores)")
    parser.add_argument("--replay", type=Path, nargs="+", help="files to run again on the one target that is named")
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), default="hypothesis")
    parser.add_argument("--seconds", type=int, default=120, help="for each target, with atheris (120)")
    return parser.parse_args()


def _run(name: str, options: argparse.Namespace) -> runner.Result:
    kept = runner.replay(name, corpus(name)) if corpus(name) else runner.Result(name)
    result = runner.run_target(name, options.inputs, first=options.first)
    result.failures += kept.failures
    result.inputs += kept.inputs
    return result


def _report(result: runner.Result) -> int:
    """Print a line for a target, and where its failures are; 1 where there are any."""
    speed = f"{result.inputs / max(result.seconds, 1e-9):7.0f}/s" if result.seconds else ""
    say(f"{result.target:20} {result.inputs:8} inputs {speed}  {len(result.failures)} failures")
    for number, failure in enumerate(result.failures):
        KEPT.mkdir(parents=True, exist_ok=True)
        path = KEPT / f"{failure.target}-{number}"
        path.write_bytes(failure.data)
        say(f"  {failure.wrong!a:.300}")
        say(f"  kept as {path}; again: cd tests && python -m fuzz {failure.target} --replay {path}")
    return 1 if result.failures else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
