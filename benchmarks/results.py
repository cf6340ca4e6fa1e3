"""Run the committed pipeline from scratch in a clone, stage by stage, and print its times and figures as Markdown.

    python benchmarks/results.py                                                            the sample
    python benchmarks/results.py -S fetch.source=local -S fetch.local.path=../shared/listings    a dump of yours
    python benchmarks/results.py --json results.json                                        for machines

Nothing that was computed before is used, neither DVC's cache nor stored features; this workspace is left alone.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="set a parameter")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the results to OUT, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        set_params(clone / "params.yaml", options.set)
        results = {"machine": machine(), "set": options.set, "seconds": time_stages(clone), "figures": figures(clone)}
    print(markdown(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def set_params(path: Path, assignments: list[str]) -> None:
    """Apply `section.key=value` assignments to params.yaml; folders are taken relative to this one."""
    params = yaml.safe_load(path.read_text())
    for assignment in assignments:
        key, _, text = assignment.partition("=")
        *sections, last = key.split(".")
        section = params
        for name in sections:
            section = section[name]
        value = yaml.safe_load(text)
        section[last] = str(Path(value).absolute()) if key == "fetch.local.path" else value
    path.write_text(yaml.safe_dump(params))


def time_stages(clone: Path) -> dict[str, float]:
    """Run every stage once, in order; seconds of each, its start-up and DVC's bookkeeping included."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MARKETPLACE_CACHE": str(clone.parent / "features"),
    }
    seconds = {}
    for stage in yaml.safe_load((clone / "dvc.yaml").read_text())["stages"]:
        started = time.perf_counter()
        command = ["dvc", "repro", "--quiet", "--force", "--single-item", stage]
        subprocess.run(command, cwd=clone, env=environment, check=True)
        seconds[stage] = time.perf_counter() - started
    return seconds


def figures(clone: Path) -> dict[str, Any]:
    """What the pipeline recorded."""
    names = ("clean", "train_small/metrics", "train_full/metrics", "evaluate")
    return {name.partition("/")[0]: json.loads((clone / f"metrics/{name}.json").read_text()) for name in names}


def machine() -> str:
    """The machine, in a few words."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = cpus[0].partition(":")[2].strip()
    return f"{os.cpu_count()} cores ({name}), {platform.system()}, Python {platform.python_version()}"


def markdown(results: dict[str, Any]) -> str:
    """The results as two tables."""
    evaluated = results["figures"]["evaluate"]
    lines = [f"Machine: {results['machine']}", "", "| stage | seconds |", "|---|---:|"]
    lines += [f"| {stage} | {seconds:.1f} |" for stage, seconds in results["seconds"].items()]
    lines += [f"| **all** | **{sum(results['seconds'].values()):.0f}** |", ""]
    lines += ["| on the test split | fine-tuned | untouched ImageNet features |", "|---|---:|---:|"]
    for name, value in evaluated.items():
        if name != "untouched":
            untouched = evaluated["untouched"].get(name)
            lines.append(f"| {name} | {value:.3f} | {'' if untouched is None else f'{untouched:.3f}'} |")
    for training in ("train_small", "train_full"):
        best = results["figures"][training]["best"]
        lines += ["", f"{training}: epoch {best['epoch']}, validation accuracy {best['val_accuracy']:.3f}"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
