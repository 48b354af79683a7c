"""How long `/predict` takes while a job trains, beside how long it takes when none does.

    python benches/while_training.py HOST:PORT MODEL PHOTO.jpg FOLDER [SECONDS]

Asks a running server one photo after the other, for SECONDS (20) before, while and after its second phase trains InceptionV3's
top two blocks on the class folders in FOLDER, and prints medians, 95th percentiles and the ratio. No dependencies.
"""

import http.client
import json
import pathlib
import statistics
import sys
import tarfile
import tempfile
import time

PHASES = [{"trainable": "head", "epochs": 1}, {"trainable_from": 249, "epochs": 100}]


class Server:
    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=300)

    def ask(self, method, path, body=None, kind="application/json"):
        self.connection.request(method, path, body, {"Content-Type": kind} if body else {})
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {answer.status} {data.decode()}")
        return json.loads(data)

    def upload(self, folder):
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                archive.add(folder, arcname=".")
            file.seek(0)
            return self.ask("POST", "/datasets", file.read(), "application/x-tar")["id"]

    def milliseconds(self, model, photo, seconds):
        times, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.perf_counter()
            self.ask("POST", f"/predict?model={model}&top_k=1", photo, "image/jpeg")
            times.append((time.perf_counter() - started) * 1e3)
        return times


def main(address, model, photo, folder, seconds="20"):
    server, photo, seconds = Server(address), pathlib.Path(photo).read_bytes(), float(seconds)
    dataset = server.upload(folder)
    server.milliseconds(model, photo, 3)
    idle = server.milliseconds(model, photo, seconds)
    recipe = {"dataset": dataset, "base": "inception_v3", "name": "while-training", "phases": PHASES}
    job = f"/jobs/{server.ask('POST', '/jobs/finetune', json.dumps(recipe))['id']}"
    while (state := server.ask("GET", job)).get("phase") != 2 or state.get("stage") != "training":
        if state["state"] not in ("queued", "running"):
            raise SystemExit(f"the job has ended: {state}")
        time.sleep(1)
    training = server.milliseconds(model, photo, seconds)
    speed = server.ask("GET", job)["images_per_second"]
    server.ask("POST", f"{job}/cancel")
    while server.ask("GET", job)["state"] == "running":
        time.sleep(0.1)
    idle += server.milliseconds(model, photo, seconds)
    for name, times in [("idle", idle), ("training", training)]:
        median, p95 = statistics.median(times), statistics.quantiles(times, n=20)[18]
        print(f"{model}, {name}: median {median:.1f} ms, p95 {p95:.1f} ms, {len(times)} requests")
    print(f"ratio of medians {statistics.median(training) / statistics.median(idle):.2f}, {speed:.0f} images/s trained meanwhile")


if __name__ == "__main__":
    main(*sys.argv[1:])
