"""Wall time of ten epochs of a new head and ten of InceptionV3's top two blocks, as users of Keras and PyTorch run them.

    python benches/finetune.py keras|keras-cached|pytorch FOLDER [WEIGHTS.h5]

FOLDER holds train/ and val/ with a folder per class; WEIGHTS is a file of Keras without top. `keras` recomputes the frozen
layers in every epoch, `keras-cached` trains the head on features that were computed once; both keep decoded images in memory.
PyTorch starts from random weights: its time is compared, not its accuracy. BatchNorm is frozen everywhere. Beside it:

    time graft finetune FOLDER --base inception_v3 --name bench --recipe RECIPE

with {"phases": [{"trainable": "head"}, {"trainable_from": 249, "epochs": 10}]} as the recipe. The first needs `tensorflow-cpu`
and `keras`, the last `torch` and `torchvision`.
"""

import pathlib
import sys
import time

EPOCHS, BATCH, SIDE, FIRST = 10, 32, 299, 249


def with_keras(folder, weights, cached):
    import keras
    import tensorflow as tf

    def images(part, shuffle):
        data = keras.utils.image_dataset_from_directory(
            folder / part, image_size=(SIDE, SIDE), batch_size=BATCH, shuffle=shuffle, seed=0, verbose=False
        )
        prepare = lambda images, labels: (keras.applications.inception_v3.preprocess_input(images), labels)
        return data.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).cache().prefetch(tf.data.AUTOTUNE)

    train, val = images("train", True), images("val", False)
    classes = len([entry for entry in (folder / "train").iterdir() if entry.is_dir()])
    base = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    if weights:
        base.load_weights(weights, by_name=True)
    pool = keras.layers.GlobalAveragePooling2D()
    head = keras.Sequential(
        [keras.Input((2048,)), keras.layers.Dense(1024, "relu"), keras.layers.Dense(classes, "softmax")]
    )
    model = keras.Model(base.input, head(pool(base.output)))
    base.trainable = False

    def fit(model, optimizer, train, val):
        model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return model.fit(train, validation_data=val, epochs=EPOCHS, verbose=0).history["val_accuracy"][-1]

    started = time.perf_counter()
    if cached:
        extract = keras.Model(base.input, pool(base.output))

        def features(data):
            batches = [(extract.predict_on_batch(images), labels) for images, labels in data]
            values = tuple(tf.concat(part, 0) for part in zip(*batches))
            return tf.data.Dataset.from_tensor_slices(values).batch(BATCH).cache()

        trained, validated = features(train), features(val)
        fit(head, keras.optimizers.RMSprop(1e-3), trained, validated)
    else:
        fit(model, keras.optimizers.RMSprop(1e-3), train, val)
    yield "head", time.perf_counter() - started
    base.trainable = True
    for index, layer in enumerate(base.layers):
        layer.trainable = index >= FIRST and not isinstance(layer, keras.layers.BatchNormalization)
    accuracy = fit(model, keras.optimizers.SGD(1e-4, momentum=0.9), train, val)
    yield f"top blocks (validation accuracy {accuracy:.3f})", time.perf_counter() - started


def with_pytorch(folder):
    import torch
    import torchvision
    from torchvision.transforms import v2

    prepare = v2.Compose(
        [v2.ToImage(), v2.Resize((SIDE, SIDE)), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    )
    sets = {part: torchvision.datasets.ImageFolder(folder / part, prepare) for part in ("train", "val")}
    load = lambda part: torch.utils.data.DataLoader(sets[part], BATCH, shuffle=part == "train", num_workers=2)
    loaders = {part: load(part) for part in sets}
    model = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    classes = len(sets["train"].classes)
    model.fc = torch.nn.Sequential(torch.nn.Linear(2048, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, classes))
    model.eval().requires_grad_(False)

    def fit(parts, make_optimizer):
        for part in parts:
            for module in part.modules():
                if not isinstance(module, torch.nn.BatchNorm2d):
                    for parameter in module.parameters(recurse=False):
                        parameter.requires_grad_(True)
        optimizer = make_optimizer([parameter for parameter in model.parameters() if parameter.requires_grad])
        for _ in range(EPOCHS):
            for images, labels in loaders["train"]:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
            with torch.no_grad():
                for images, _ in loaders["val"]:
                    model(images)

    started = time.perf_counter()
    fit([model.fc], lambda parameters: torch.optim.RMSprop(parameters, lr=1e-3, alpha=0.9, eps=1e-7))
    yield "head", time.perf_counter() - started
    fit([model.fc, model.Mixed_7b, model.Mixed_7c], lambda parameters: torch.optim.SGD(parameters, lr=1e-4, momentum=0.9))
    yield "top blocks", time.perf_counter() - started


def main(way, folder, weights=None):
    started, before = time.perf_counter(), 0.0
    folder = pathlib.Path(folder)
    phases = with_pytorch(folder) if way == "pytorch" else with_keras(folder, weights, way == "keras-cached")
    for phase, seconds in phases:
        print(f"{way}: {phase}: {seconds - before:.1f} s", flush=True)
        before = seconds
    print(f"{way}: {time.perf_counter() - started:.1f} s with imports and loading", flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("keras", "keras-cached", "pytorch"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
