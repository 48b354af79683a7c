"""What recipes are worth: accuracy, best epoch, wall time and peak memory of `graft finetune`, over bases and seeds.

    python benches/recipes.py FOLDER --bases NAME … [--recipes default keras FILE.json …] [--seeds 0 1 2 3 4] [--graft PROGRAM]

FOLDER holds a folder per class, or train/ and val/ with these; the bases are models of the repository that graft finds, as
GRAFT__DATA__DIR and its other settings say. A recipe is a word of the request's `recipe`, or a JSON file as of
`graft finetune --recipe`. What comes out is removed again. The first run with a base computes the frozen layers, later ones
find them in the cache, so that one run per base is made for that and left out. `trained` counts from the first epoch's end
to the last one's. Times are to be compared within one table, from a machine that does nothing else.

Prints a row per run as Markdown, and the means; `--json FILE` keeps every epoch.
"""

import argparse
import json
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
BEST = re.compile(r"epoch (\d+) of phase (\d+) was the best")
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
    at = int(best[2]), int(best[1])
    chosen = next(epoch for epoch in epochs if (epoch["phase"], epoch["epoch"]) == at)
    return {
        "base": base,
        "recipe": recipe,
        "seed": seed,
        "best": chosen,
        "epochs": epochs,
        "trained": epochs[-1]["seconds"] - epochs[0]["seconds"],
        "wall": wall,
        "peak_mib": usage.ru_maxrss // 1024,
        "warnings": [line.removeprefix("warning: ").strip() for line in said if line.startswith("warning: ")],
    }


def remove(graft):
    """Removes what runs have registered."""
    listed = subprocess.run([graft, "models"], capture_output=True, text=True, check=True).stdout
    if NAME in listed:
        models = pathlib.Path(os.environ.get("GRAFT__MODELS__DIR") or pathlib.Path(os.environ["GRAFT__DATA__DIR"]) / "models")
        shutil.rmtree(models / NAME)


def row(result):
    best = result["best"]
    return (
        f"| {result['base']} | {result['recipe']} | {result['seed']} | {best['val_accuracy']:.4f} | {best['val_loss']:.4f} "
        f"| {best['phase']}.{best['epoch']} | {result['trained']:.1f} | {result['wall']:.1f} | {result['peak_mib']} |"
    )


def mean(results, recipe):
    own = [result for result in results if result["recipe"] == recipe]
    average = lambda value: statistics.fmean(map(value, own))
    accuracy, loss = average(lambda one: one["best"]["val_accuracy"]), average(lambda one: one["best"]["val_loss"])
    return (
        f"| {', '.join(dict.fromkeys(one['base'] for one in own))} | {recipe} | {len(own)} runs | {accuracy:.4f} | {loss:.4f} | "
        f"| {average(lambda one: one['trained']):.1f} | {average(lambda one: one['wall']):.1f} "
        f"| {max(one['peak_mib'] for one in own)} |"
    )


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
    print("| base | recipe | seed | accuracy | loss | best | trained s | wall s | peak MiB |\n|---|---|---|---|---|---|---|---|---|")
    for base in arguments.bases:
        run(arguments.graft, arguments.folder, base, arguments.recipes[0], arguments.seeds[0])
        remove(arguments.graft)
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
    for recipe in arguments.recipes:
        print(mean(results, recipe), flush=True)


if __name__ == "__main__":
    main()
