"""The table that the scripts about trees print: ours and scikit-learn's, side by side.

    tasks = {"moons": moons}                     # moons(make) -> {"accuracy": 0.86}
    trees_table.show(tasks, __doc__)             # --only moons --sides scikit-learn

A task is written once, over `make`: from the name of a class to the class, once of
`jaxml.sklearn`, once of scikit-learn. It takes the seed of its models, 42 in the book;
--seeds 5 runs 42 to 46 and shows the mean, the least and the greatest figure.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from sklearn.utils import discovery

import jaxml.sklearn as ours

if "JAXML_DATA" not in os.environ:
    raise SystemExit("set JAXML_DATA to the folder of the datasets (docs/own_data.md)")
FOLDER = Path(os.environ["JAXML_DATA"])
SPLITS = np.load(FOLDER / "fixtures" / "sklearn_fixtures.npz")
SIDES = ("jaxml", "scikit-learn")


def maker(side):
    """The classes of one side by name."""
    if side == "jaxml":
        return lambda name: getattr(ours, name)
    return dict(discovery.all_estimators()).__getitem__


def show(tasks, about, **options):
    """Run the tasks that the command line asks for: a line for each and each side.

    Args:
        tasks: name -> function of `make` and the seed, which gives names and figures.
        about: what the command does.
        **options: further options of the command, name -> default; each task takes
            them as keywords.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=tasks, default=list(tasks))
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seeds", type=int, default=1)
    for name, default in options.items():
        kind = {"action": "store_true"} if default is False else {"type": type(default)}
        parser.add_argument(f"--{name.replace('_', '-')}", default=default, **kind)
    asked = vars(parser.parse_args())
    given = {name: asked[name] for name in options}
    print("| task | side | found | s |\n|---|---|---|---|")
    for name in asked["only"]:
        for side in asked["sides"]:
            start = time.perf_counter()
            seeds = range(42, 42 + asked["seeds"])
            found = [tasks[name](maker(side), seed, **given) for seed in seeds]
            seconds = time.perf_counter() - start
            shown = ", ".join(
                f"{key} {several([one[key] for one in found])}" for key in found[0]
            )
            print(f"| {name} | {side} | {shown} | {seconds:.1f} |", flush=True)


def several(values):
    """One figure, or the mean of some with the least and the greatest."""
    if len(values) == 1:
        return f"{values[0]:.6g}"
    return f"{np.mean(values):.6g} ({min(values):.6g} to {max(values):.6g})"
