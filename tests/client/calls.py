"""One call of each kind with the client that was generated from `openapi.yaml`; run by `run.py`.

Every answer must have the expected status and be of the expected class of the generated models.
"""

from __future__ import annotations

import base64
import io
import pathlib
import pkgutil
import struct
import sys
import time
import zipfile
import zlib
from types import ModuleType
from typing import Any, TypeVar

import graft_client.api
from graft_client import Client
from graft_client.api.datasets import (
    delete_dataset,
    get_dataset,
    list_dataset_classes,
    list_datasets,
    list_skipped_files,
    upload_dataset,
)
from graft_client.api.health import get_health, get_metrics, get_readiness
from graft_client.api.images import (
    features,
    features_with_model,
    features_with_version,
    predict,
    predict_with_model,
    predict_with_version,
)
from graft_client.api.jobs import cancel_job, evaluate, finetune, get_job, import_, list_jobs, stream_job_events
from graft_client.api.models import (
    delete_version,
    download_onnx,
    get_model,
    list_labels,
    list_layers,
    list_models,
    set_stable_version,
    unset_stable_version,
)
from graft_client import models as wire
from graft_client.types import File

T = TypeVar("T")

PHOTO = pathlib.Path(__file__).resolve().parents[1] / "fixtures/images/rgb_8.png"
PATIENCE_SECONDS = 120


def png(red: int, green: int, blue: int, side: int = 8) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes([red, green, blue]) * side) * side
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def file(payload: bytes, name: str | None = None) -> File:
    return File(payload=io.BytesIO(payload), file_name=name, mime_type="image/png" if name else None)


class Caller:
    """Makes calls and checks what they answer with."""

    def __init__(self, server: str) -> None:
        self.client = Client(base_url=server, timeout=60, raise_on_unexpected_status=True)
        self.called: set[str] = set()

    def call(self, operation: ModuleType, status: int, kind: type[T], *path: Any, **arguments: Any) -> T:
        """The parsed answer of `operation`, which must have `status` and be a `kind`."""
        response = operation.sync_detailed(*path, client=self.client, **arguments)
        name = operation.__name__.rsplit(".", 1)[1]
        assert response.status_code == status, f"{name}: {response.status_code} {response.content!r}"
        assert isinstance(response.parsed, kind), f"{name}: {type(response.parsed)} is no {kind}"
        assert response.headers["X-Request-Id"], name
        self.called.add(name)
        return response.parsed

    def array(self, operation: ModuleType, media_type: str, **arguments: Any) -> bytes:
        """An answer that is no JSON: the generated request, with the `Accept` that OpenAPI leaves to the media types."""
        request = operation._get_kwargs(**arguments)
        request["headers"] = {**request.get("headers", {}), "Accept": media_type}
        response = self.client.get_httpx_client().request(**request)
        assert (response.status_code, response.headers["Content-Type"]) == (200, media_type), response.content
        return response.content

    def until(self, job: str, *states: wire.JobState) -> wire.JobDetail:
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            found = self.call(get_job, 200, wire.JobDetail, job)
            if found.state in states:
                return found
            time.sleep(0.1)
        raise AssertionError(f"job {job} is {found.state} after {PATIENCE_SECONDS} s: {found}")


def health(caller: Caller) -> None:
    assert caller.call(get_health, 200, wire.Status).status == "ok"
    assert caller.call(get_readiness, 200, wire.Status).status == "ready"
    assert "graft_" in caller.call(get_metrics, 200, str)


def images(caller: Caller) -> None:
    photo = PHOTO.read_bytes()
    raw = caller.call(predict, 200, wire.PredictAnswer, body=file(photo))
    files = [file(photo, "a.png"), file(png(255, 0, 0), "red.png")]
    form = wire.PredictForm(image=files, model="colours@2", resize=wire.Resize.BICUBIC)
    multipart = caller.call(predict, 200, wire.PredictAnswer, body=form, top_k=2)
    entry = wire.ImageEntry(b64=base64.b64encode(photo).decode(), name="a.png")
    encoded = wire.PredictRequest(images=[entry, entry.b64], top_k=1)
    json = caller.call(predict, 200, wire.PredictAnswer, body=encoded)
    assert raw.model.name == "colours" and raw.model.version == 2, raw
    assert [outcome.image for outcome in multipart.predictions] == ["a.png", "red.png"], multipart
    assert multipart.predictions[1].top_k[0].label == "red", multipart
    assert raw.predictions[0].top_k[:1] == json.predictions[0].top_k == json.predictions[1].top_k, (raw, json)
    assert all(isinstance(outcome, wire.Prediction) for outcome in [*raw.predictions, *multipart.predictions])

    broken = wire.PredictRequest(images=[entry, wire.ImageEntry(b64="AAAA", name="broken")])
    skipped = caller.call(predict, 200, wire.PredictAnswer, body=broken, on_error=wire.OnError.SKIP)
    assert isinstance(skipped.predictions[1], wire.SkippedImage), skipped
    refused = caller.call(predict, 422, wire.Problem, body=broken)
    assert refused.code == wire.Code.BAD_IMAGES and refused.errors[0].image == "broken", refused

    caller.call(predict_with_model, 200, wire.PredictAnswer, "colours", body=file(photo))
    first = caller.call(predict_with_version, 200, wire.PredictAnswer, "colours", 1, body=file(photo))
    assert first.model.version == 1, first
    unknown = caller.call(predict_with_model, 404, wire.Problem, "colors", body=file(photo))
    assert unknown.code == wire.Code.UNKNOWN_MODEL, unknown

    numbers = caller.call(features, 200, wire.FeaturesAnswer, body=file(photo), layer="relu", top_k=1)
    layer = numbers.features[0].layers["relu"]
    assert layer.shape == [8, 8, 3] and len(layer.data) == 192, layer
    packed = caller.call(
        features_with_model, 200, wire.FeaturesAnswer, "colours", body=file(photo), layer="relu",
        encoding_format=wire.EncodingFormat.BASE64,
    )
    decoded = struct.unpack("<192f", base64.b64decode(packed.features[0].layers["relu"].data))
    assert list(decoded) == [struct.unpack("<f", struct.pack("<f", value))[0] for value in layer.data]
    caller.call(
        features_with_version, 200, wire.FeaturesAnswer, "colours", 1, pool=wire.FeaturePool.AVG,
        body=wire.FeaturesRequest(images=[entry], layer=["relu"]), normalize=wire.Normalize.L2, dtype=wire.Dtype.FLOAT16,
    )
    npy = caller.array(features, "application/x-npy", body=file(photo), layer="relu")
    assert npy.startswith(b"\x93NUMPY") and npy.endswith(struct.pack("<192f", *decoded)), npy[:80]
    npz = zipfile.ZipFile(io.BytesIO(caller.array(features, "application/x-npz", body=file(photo), layer="relu,conv")))
    assert {"relu.npy", "conv.npy"} <= set(npz.namelist()), npz.namelist()
    missing = caller.call(features, 422, wire.Problem, body=file(photo), layer="fc2")
    assert missing.code == wire.Code.UNKNOWN_LAYER, missing


def models(caller: Caller) -> None:
    listed = caller.call(list_models, 200, wire.ModelsAnswer)
    assert [model.name for model in listed.models] == ["colours"] and listed.problems == [], listed
    shown = caller.call(get_model, 200, wire.ModelDetail, "colours")
    assert [label.label for label in shown.versions[0].labels] == ["red", "green", "blue", "lime"], shown
    labels = caller.call(list_labels, 200, wire.LabelsAnswer, "colours", version=1)
    assert [label.label for label in labels.labels] == ["red", "green", "blue", "lime"], labels
    layers = caller.call(list_layers, 200, wire.LayersAnswer, "colours", version=1)
    assert "relu" in [layer.name for layer in layers.layers], layers
    stable = caller.call(set_stable_version, 200, wire.ModelDetail, "colours", body=wire.StableVersion(version=1))
    assert stable.stable == 1 and stable.pinned, stable
    unset = caller.call(unset_stable_version, 200, wire.ModelDetail, "colours")
    assert unset.stable == 2 and not unset.pinned, unset
    onnx = caller.call(download_onnx, 200, File, "colours", 1).payload.read()
    assert b"GlobalAveragePool" in onnx
    caller.call(delete_version, 204, type(None), "colours", 2)
    gone = caller.call(delete_version, 404, wire.Problem, "colours", 2)
    assert gone.code == wire.Code.UNKNOWN_VERSION, gone


def dataset(caller: Caller) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as entries:
        for shade in range(8):
            entries.writestr(f"warm/{shade}.png", png(255 - shade, 10 * shade, 0))
            entries.writestr(f"cold/{shade}.png", png(0, 10 * shade, 255 - shade))
    made = caller.call(upload_dataset, 201, wire.DatasetDto, body=file(archive.getvalue()))
    assert {entry.name: entry.train for entry in made.classes} == {"warm": 8, "cold": 8}, made
    assert [found.id for found in caller.call(list_datasets, 200, wire.DatasetsAnswer).datasets] == [made.id]
    assert caller.call(get_dataset, 200, wire.DatasetDto, made.id).skipped == []
    first = caller.call(list_dataset_classes, 200, wire.ClassesAnswer, made.id, limit=1)
    rest = caller.call(list_dataset_classes, 200, wire.ClassesAnswer, made.id, after=first.next_)
    assert [(entry.index, entry.name) for entry in [*first.classes, *rest.classes]] == [(0, "cold"), (1, "warm")]
    assert rest.next_ is None and caller.call(list_skipped_files, 200, wire.SkippedAnswer, made.id).skipped_count == 0
    refused = caller.call(upload_dataset, 403, wire.Problem, body=wire.FolderRequest(path="photos"))
    assert refused.code == wire.Code.FOLDER_REFUSED, refused
    return made.id


def jobs(caller: Caller, data: str) -> None:
    head = wire.HeadRequest(hidden=[4])
    phase = wire.PhaseRequest(epochs=2, trainable="head")
    recipe = wire.FinetuneRequest(dataset=data, name="warmth", base="colours", head=head, phases=[phase])
    planned = caller.call(finetune, 200, wire.FinetunePlanned, body=recipe, dry_run=True)
    assert isinstance(planned.recipe, wire.Recipe) and planned.recipe.head.hidden == [4], planned
    refused = caller.call(finetune, 422, wire.Problem, body=wire.FinetuneRequest(dataset="none", name="warmth"))
    assert refused.code == wire.Code.INVALID_RECIPE and refused.problems, refused

    accepted = caller.call(finetune, 202, wire.FinetuneAccepted, body=recipe, idempotency_key="warmth-1")
    again = caller.call(finetune, 202, wire.FinetuneAccepted, body=recipe, idempotency_key="warmth-1")
    assert accepted == again and accepted.state == wire.JobState.QUEUED, (accepted, again)
    done = caller.until(accepted.id, wire.JobState.SUCCEEDED, wire.JobState.FAILED)
    assert done.state == wire.JobState.SUCCEEDED, done
    assert len(done.history) == 2 and isinstance(done.result, wire.FinetuneResult), done
    assert isinstance(done.result.report, wire.ClassificationReport) and done.result.model == "warmth", done
    events = caller.call(stream_job_events, 200, str, accepted.id)
    assert events.count("event: epoch") == 2 and "event: end" in events, events
    last = events.count("\nid: ") + events.startswith("id: ")
    caller.call(stream_job_events, 204, type(None), accepted.id, after=last)
    late = caller.call(cancel_job, 409, wire.Problem, accepted.id)
    assert late.code == wire.Code.JOB_FINISHED, late
    lineage = caller.call(get_model, 200, wire.ModelDetail, "warmth").versions[0].lineage
    assert isinstance(lineage.recipe, wire.Recipe) and isinstance(lineage.metrics, wire.ClassificationReport), lineage

    endless = wire.PhaseRequest(epochs=10_000, trainable="head")
    recipe = wire.FinetuneRequest(dataset=data, name="endless", base="colours", phases=[endless])
    running = caller.call(finetune, 202, wire.FinetuneAccepted, body=recipe)
    caller.until(running.id, wire.JobState.RUNNING)
    caller.call(cancel_job, 202, wire.JobDto, running.id)
    assert caller.until(running.id, wire.JobState.CANCELLED).cancel_requested
    page = caller.call(list_jobs, 200, wire.JobsAnswer, state=wire.JobState.CANCELLED, limit=1)
    assert [job.id for job in page.jobs] == [running.id] and page.next_ is None, page
    assert len(caller.call(list_jobs, 200, wire.JobsAnswer).jobs) == 2

    measuring = wire.EvaluateRequest(model="warmth@1", dataset=data)
    measured = caller.call(evaluate, 202, wire.EvaluateAccepted, body=measuring)
    done = caller.until(measured.id, wire.JobState.SUCCEEDED, wire.JobState.FAILED)
    assert isinstance(done.result, wire.EvaluateResult) and done.result.report.images == 16, done
    onnx = caller.call(download_onnx, 200, File, "warmth", 1).payload.read()
    imported = caller.call(import_, 202, wire.ImportAccepted, body=file(onnx), name="warmth_copy")
    done = caller.until(imported.id, wire.JobState.SUCCEEDED, wire.JobState.FAILED)
    assert isinstance(done.result, wire.ImportResult) and done.result.served, done


def main() -> None:
    caller = Caller(sys.argv[1])
    end = time.monotonic() + PATIENCE_SECONDS
    while get_readiness.sync_detailed(client=caller.client).status_code != 200 and time.monotonic() < end:
        time.sleep(0.1)
    health(caller)
    images(caller)
    models(caller)
    data = dataset(caller)
    jobs(caller, data)
    caller.call(delete_dataset, 204, type(None), data)
    operations = {
        module.name
        for package in pkgutil.iter_modules(graft_client.api.__path__)
        for module in pkgutil.iter_modules([f"{graft_client.api.__path__[0]}/{package.name}"])
    }
    assert caller.called == operations, f"not called: {operations - caller.called}"
    print(f"{len(operations)} operations, each answered as openapi.yaml says")


if __name__ == "__main__":
    main()
