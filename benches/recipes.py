"""What recipes are worth: accuracy, best epoch, wall time and peak memory of `graft finetune`, over bases and seeds.

    python benches/recipes.py FOLDER --bases NAME … [--recipes default keras FILE.json …] [--seeds 0 1 2 3 4] [--graft PROGRAM]

FOLDER holds a folder per class, or train/ and val/ with these; the bases are models of the repository that graft finds, as
GRAFT__DATA__DIR and its other settings say. A recipe is a word of the request's `recipe`, or a JSON file as of
`graft finetune --recipe`. What comes out is removed again. The first run of a recipe with a base computes the frozen layers,
later ones find them in the cache, so that one run is made for that with nothing cached, and told apart. `trained` counts from
the first epoch's end to the last one's; loss and calibration error, before and after calibration, are cross-validated. Times
are to be compared within one table, from a machine that does nothing else.

Prints a row per run as Markdown, and the means; `--json FILE` keeps every epoch.
"""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

NUMBER = r"([\d.]+|NaN|inf)"
EPOCH = re.compile(rf"phase (\d+) epoch +(\d+)  loss {NUMBER}  accuracy {NUMBER}  val_loss {NUMBER}  val_accuracy {NUMBER}")
CALIBRATION = re.compile(
    rf"temperature {NUMBER}; cross-validated, loss {NUMBER} before and {NUMBER} after, "
    rf"calibration error {NUMBER} before and {NUMBER} after"
)
BEST = re.compile(r"epoch (\d+) of phase (\d+) was the best")
FITTED = "temperature", "loss_before", "loss_after", "error_before", "error_after"
NAME = "bench-recipes"


def run(graft, folder, base, recipe, seed):
    """One fine-tuning, as a dictionary."""
    if recipe.endswith(".json"):
        request = json.loads(pathlib.Path(recipe).read_text())
    else:
        request = {"recipe": recipe}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(request, file)
        file.flush()
        # Not at a job's low priority: what else runs here would be measured.
        command = [graft, "finetune", folder, "--base", base, "--name", NAME, "--seed", str(seed), "--recipe", file.name]
        started, epochs, said = time.perf_counter(), [], []
        process = subprocess.Popen(
            [*command, "--set", "jobs.nice=0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for line in process.stderr:
            said.append(line)
            if found := EPOCH.search(line):
                loss, accuracy, val_loss, val_accuracy = map(float, found.groups()[2:])
                epochs.append(
                    {
                        "phase": int(found[1]),
                        "epoch": int(found[2]),
                        "loss": loss,
                        "accuracy": accuracy,
                        "val_loss": val_loss,
                        "val_accuracy": val_accuracy,
                        "seconds": time.perf_counter() - started,
                    }
                )
        report = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    if status != 0 or not (best := BEST.search(report)):
        sys.exit(f"{' '.join(command)} failed:\n{''.join(said[-5:])}{report}")
    calibration = CALIBRATION.search(report)
    at = int(best[2]), int(best[1])
    chosen = next(epoch for epoch in epochs if (epoch["phase"], epoch["epoch"]) == at)
    return {
        "base": base,
        "recipe": recipe,
        "seed": seed,
        "best": chosen,
        "calibration": dict(zip(FITTED, map(float, calibration.groups()))) if calibration else None,
        "epochs": epochs,
        "trained": epochs[-1]["seconds"] - epochs[0]["seconds"],
        "wall": wall,
        "peak_mib": usage.ru_maxrss // 1024,
        "warnings": [line.removeprefix("warning: ").strip() for line in said if line.startswith("warning: ")],
    }


def run_cold(arguments, base, recipe):
    """A run that finds nothing cached; what it caches is there for later ones."""
    cache = pathlib.Path(os.environ["GRAFT__DATA__DIR"]) / "cache"
    aside = cache.with_name("cache-of-benches")
    if cache.is_dir():
        cache.rename(aside)
    result = run(arguments.graft, arguments.folder, base, recipe, arguments.seeds[0])
    remove(arguments.graft)
    if aside.is_dir():
        for made in cache.iterdir():
            shutil.rmtree(aside / made.name, ignore_errors=True)
            made.rename(aside / made.name)
        cache.rmdir()
        aside.rename(cache)
    return result


def remove(graft):
    """Removes what runs have registered."""
    listed = subprocess.run([graft, "models"], capture_output=True, text=True, check=True).stdout
    if NAME in listed:
        models = pathlib.Path(os.environ.get("GRAFT__MODELS__DIR") or pathlib.Path(os.environ["GRAFT__DATA__DIR"]) / "models")
        shutil.rmtree(models / NAME)


def cells(accuracy, calibration, best, trained, wall, peak):
    """The columns behind the seed; `calibration` gives the value of a name."""
    fitted = [
        f"{calibration('temperature'):.2f}",
        f"{calibration('loss_before'):.3f} / {calibration('loss_after'):.3f}",
        f"{calibration('error_before'):.3f} / {calibration('error_after'):.3f}",
    ]
    return " | ".join([f"{accuracy:.4f}", best, *fitted, f"{trained:.1f}", f"{wall:.1f}", str(peak)])


def row(result):
    best, calibration = result["best"], result["calibration"] or {}
    values = cells(
        best["val_accuracy"],
        lambda name: calibration.get(name, math.nan),
        f"{best['phase']}.{best['epoch']}",
        result["trained"],
        result["wall"],
        result["peak_mib"],
    )
    return f"| {result['base']} | {result['recipe']} | {result['seed']} | {values} |"


def mean(results, recipe):
    own = [result for result in results if result["recipe"] == recipe]

    def average(value):
        return statistics.fmean(map(value, own))

    late = sum(one["best"]["phase"] > 1 for one in own)
    values = cells(
        average(lambda one: one["best"]["val_accuracy"]),
        lambda name: average(lambda one: (one["calibration"] or {}).get(name, math.nan)),
        f"{late} after 1",
        average(lambda one: one["trained"]),
        average(lambda one: one["wall"]),
        max(one["peak_mib"] for one in own),
    )
    return f"| {', '.join(dict.fromkeys(one['base'] for one in own))} | {recipe} | {len(own)} runs | {values} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--bases", nargs="+", required=True)
    parser.add_argument("--recipes", nargs="+", default=["default", "keras"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--graft", default="target/release/graft")
    parser.add_argument("--json", type=pathlib.Path, help="where to keep every epoch")
    arguments = parser.parse_args()
    if "GRAFT__DATA__DIR" not in os.environ:
        sys.exit("set GRAFT__DATA__DIR to a folder with the bases: what comes out is removed from its models")
    results = []
    columns = ["base", "recipe", "seed", "accuracy", "best", "temperature", "loss", "calibration error", "trained s", "wall s"]
    print(f"| {' | '.join(columns)} | peak MiB |\n{'|---' * (len(columns) + 1)}|")
    for base in arguments.bases:
        cold = {recipe: run_cold(arguments, base, recipe) for recipe in arguments.recipes}
        for seed in arguments.seeds:
            # Side by side, so that what else the machine does meets all alike.
            for recipe in arguments.recipes:
                results.append(run(arguments.graft, arguments.folder, base, recipe, seed))
                remove(arguments.graft)
                print(row(results[-1]), flush=True)
                if arguments.json:
                    arguments.json.write_text(json.dumps(results, indent=1))
        for recipe in arguments.recipes:
            print(mean([result for result in results if result["base"] == base], recipe), flush=True)
            print(f"| {base} | {recipe} | nothing cached |" + " |" * 6 + f" {cold[recipe]['wall']:.1f} | |", flush=True)
    for recipe in arguments.recipes:
        print(mean(results, recipe), flush=True)


if __name__ == "__main__":
    main()
