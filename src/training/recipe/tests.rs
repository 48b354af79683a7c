//! Requests against the real architectures: what they resolve to, and every message.

use serde_json::{Value, json};

use super::*;
use crate::{
    arch::{efficientnet_lite0, inception_v3, vgg16},
    datasets::Split,
    preprocess::Orientation,
    training::{
        Samples,
        fixture::{model, request, resolved, samples},
    },
};

fn frontiers(phase: &Phase) -> String {
    let tensors: Vec<String> = phase.frontier.iter().map(|tensor| format!("{} {:?}", tensor.tensor, tensor.shape)).collect();
    tensors.join(", ")
}

/// What the validation images of `samples()` are warned of for.
const FEW: &str = "validation: 4 images say little: each one moves the accuracy by 0.250; add photos, or raise \
                   `validation_split`, until there are 20";

#[test]
fn the_default_trains_the_head_and_the_top_blocks() {
    let recipe = resolved(&model(&inception_v3(false)), json!({}));
    let [head, top] = recipe.phases.as_slice() else { panic!("{:?}", recipe.phases) };
    assert_eq!((head.epochs, head.trainable_params), (10, 2_100_226));
    assert_eq!(head.learning_rate, LearningRate { initial: 5e-4, decay: 0.0, schedule: Schedule::Cosine });
    assert_eq!(json!(head.optimizer), json!({"type": "rmsprop", "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}));
    assert_eq!((recipe.head.hidden.as_slice(), recipe.head.dropout), (&[1024][..], 0.5));
    assert_eq!(
        (frontiers(head), head.frontier_bytes_per_image, head.frontier[0].pooled),
        ("mixed10 [2048]".to_owned(), 8192, true)
    );
    assert_eq!((top.epochs, top.start_from), (1, StartFrom::Best));
    assert_eq!(top.learning_rate, LearningRate { initial: 3e-4, decay: 0.0, schedule: Schedule::Constant });
    assert_eq!(json!(top.optimizer), json!({"type": "sgd", "momentum": 0.9, "nesterov": false}));
    assert_eq!(top.trainable, Trainable::From { layer: "conv2d_80".to_owned(), index: 249 });
    assert_eq!((frontiers(top), top.frontier_bytes_per_image), ("mixed8 [1280, 8, 8]".to_owned(), 327_680));
    assert_eq!(top.trainable_params, 11_108_352 + 2_100_226);
    assert_eq!((recipe.batch_size, recipe.steps_per_epoch, recipe.seed), (32, 1, 0));
    assert_eq!((recipe.validation.train, recipe.validation.val, recipe.validation.split), (16, 4, Some(0.2)));
    assert_eq!(recipe.preprocessing.orientation, Orientation::Exif);
    assert_eq!(recipe.warnings, [FEW]);
    let gflop = (head.frozen_flops as f64 / 1e9, (top.frozen_flops + top.trained_flops) as f64 / 1e9);
    assert!((11.3..11.6).contains(&gflop.0) && (11.3..11.6).contains(&gflop.1), "{gflop:?}");
}

#[test]
fn one_word_is_keras_s_recipe() {
    let inception = model(&inception_v3(false));
    let keras = resolved(&inception, json!({"recipe": "keras"}));
    let phases = json!([
        {"trainable": "head", "epochs": 10, "start_from": "last", "optimizer": {"type": "rmsprop", "learning_rate": 0.001}},
        {"trainable_from": "conv2d_80", "epochs": 3, "start_from": "last",
            "optimizer": {"type": "sgd", "learning_rate": 0.0001, "momentum": 0.9}},
    ]);
    let whole = json!({"head": {"pool": "avg", "hidden": [1024]}, "batch_size": 32, "phases": phases});
    assert_eq!(keras, resolved(&inception, whole));
    assert_eq!(resolved(&inception, json!({"recipe": "default"})), resolved(&inception, json!({})));
}

#[test]
fn fields_go_before_the_recipe_s() {
    let inception = model(&inception_v3(false));
    let phases =
        json!([{"trainable": "head", "learning_rate": 0.01}, {"trainable_from": 249, "epochs": 5, "start_from": "best"}]);
    let of = |word: &str| resolved(&inception, json!({"recipe": word, "batch_size": 8, "phases": phases}));
    let said = |recipe: &Recipe| {
        let phase = |phase: &Phase| (phase.epochs, phase.learning_rate.initial, phase.learning_rate.schedule, phase.start_from);
        (recipe.batch_size, [phase(&recipe.phases[0]), phase(&recipe.phases[1])])
    };
    let keras = [(10, 0.01, Schedule::Constant, StartFrom::Last), (5, 1e-4, Schedule::Constant, StartFrom::Best)];
    assert_eq!(said(&of("keras")), (8, keras));
    let default = [(10, 0.01, Schedule::Cosine, StartFrom::Best), (5, 3e-4, Schedule::Constant, StartFrom::Best)];
    assert_eq!(said(&of("default")), (8, default));
    let named = json!({"phases": [{"trainable": "head", "optimizer": {"type": "rmsprop"}}], "head": {"hidden": [8]}});
    let named = resolved(&inception, named);
    let rate = LearningRate { initial: 1e-3, decay: 0.0, schedule: Schedule::Constant };
    assert_eq!((named.phases[0].learning_rate, named.head.dropout), (rate, 0.0), "what is named has Keras's defaults");
}

#[test]
fn recipes_of_earlier_versions_start_from_the_last_epoch() {
    let mut stored = serde_json::to_value(resolved(&model(&inception_v3(false)), json!({}))).expect("JSON");
    for phase in stored["phases"].as_array_mut().expect("a list") {
        assert_eq!(phase.as_object_mut().expect("an object").remove("start_from"), Some(json!("best")));
    }
    let recipe: Recipe = serde_json::from_value(stored).expect("a recipe");
    assert!(recipe.phases.iter().all(|phase| phase.start_from == StartFrom::Last));
}

#[test]
fn few_validation_images_are_warned_of() {
    let inception = model(&inception_v3(false));
    let warnings = |images: Samples, body: Value| {
        let recipe = request(body).resolve_on(&inception.metadata, &inception.graph, &images);
        recipe.expect("a sound request").warnings
    };
    assert_eq!(warnings(samples(), json!({"validation_split": 0.4})).len(), 1, "8 images");
    let mut many = samples();
    let more = many.images.clone();
    (0..5).for_each(|_| many.images.extend(more.clone()));
    many.images.iter_mut().enumerate().for_each(|(number, image)| image.file = number.to_string().into());
    assert_eq!(warnings(many.clone(), json!({})), [""; 0], "24 images");
    many.images[..19].iter_mut().for_each(|image| image.split = Split::Val);
    let folder =
        "validation: 19 images say little: each one moves the accuracy by 0.053; add photos to `val/` until there are 20";
    assert_eq!(warnings(many, json!({})), [folder]);
}

#[test]
fn vgg16_starts_at_its_fifth_block() {
    let vgg = model(&vgg16(false));
    let recipe = resolved(&vgg, json!({}));
    let top = &recipe.phases[1];
    assert_eq!(top.trainable, Trainable::From { layer: "block5_conv1".to_owned(), index: 15 });
    assert_eq!((frontiers(top), top.frontier_bytes_per_image), ("block4_pool [512, 14, 14]".to_owned(), 401_408));
    assert_eq!((recipe.head.on.as_str(), recipe.head.inputs, recipe.head.pool), ("block5_pool", 512, Pool::Avg));
    let flat = resolved(&vgg, json!({"head": {"pool": "flatten", "hidden": []}}));
    assert_eq!((flat.head.inputs, flat.head.params), (25_088, 50_178));
    assert_eq!(frontiers(&flat.phases[0]), "block5_pool [512, 7, 7]");
}

#[test]
fn efficientnet_lite0_starts_at_its_top_blocks() {
    let recipe = resolved(&model(&efficientnet_lite0(true)), json!({}));
    let [head, top] = recipe.phases.as_slice() else { panic!("{:?}", recipe.phases) };
    assert_eq!(
        (recipe.head.on.as_str(), recipe.head.inputs, frontiers(head)),
        ("top_activation", 1280, "top_activation [1280]".to_owned())
    );
    assert_eq!(top.trainable, Trainable::From { layer: "block7a_expand_conv".to_owned(), index: 144 });
    assert_eq!((frontiers(top), top.frontier_bytes_per_image), ("block6d_add [192, 7, 7]".to_owned(), 37_632));
    assert_eq!(recipe.warnings, [FEW]);
    let gflop = head.frozen_flops as f64 / 1e9;
    assert!((0.75..0.83).contains(&gflop), "{gflop}");
}

#[test]
fn blocks_of_residuals_are_those_of_the_architecture() {
    let lite0 = model(&efficientnet_lite0(false));
    let recipe = resolved(&lite0, json!({"phases": [{"trainable": "head"}, {"trainable_from": 101}]}));
    assert_eq!(
        recipe.warnings[..1],
        ["phases[1].trainable_from: 101 (`block5c_project_conv`) lies inside `block5c_add`, of which a part stays frozen (2 \
          tensors are cached); that block begins at 95 (`block5c_expand_conv`); the top two blocks begin at 144 \
          (`block7a_expand_conv`)"]
    );
}

#[test]
fn an_index_inside_a_block_is_warned_of() {
    let inception = model(&inception_v3(false));
    let from = |start: Value| resolved(&inception, json!({"phases": [{"trainable": "head"}, {"trainable_from": start}]}));
    let recipe = from(json!(172));
    let phase = &recipe.phases[1];
    assert_eq!(frontiers(phase), "mixed5 [768, 17, 17], activation_55 [160, 17, 17], conv2d_51 [160, 17, 17]");
    assert_eq!(phase.frontier_bytes_per_image, 1_257_728);
    assert_eq!(phase.trainable_params - recipe.head.params, 16_204_800);
    assert_eq!(
        recipe.warnings[..1],
        ["phases[1].trainable_from: 172 (`conv2d_56`) lies inside `mixed6`, of which a part stays frozen (3 tensors are \
          cached); that block begins at 165 (`conv2d_54`); the top two blocks begin at 249 (`conv2d_80`)"]
    );
    for (start, frontier) in [(json!("mixed8"), "mixed8 [1280, 8, 8]"), (json!(0), "input_layer [3, 299, 299]")] {
        let recipe = from(start);
        assert_eq!((frontiers(&recipe.phases[1]).as_str(), recipe.warnings.as_slice()), (frontier, &[FEW.to_owned()][..]));
    }
}

#[test]
fn batch_norm_trains_only_when_asked() {
    let inception = model(&inception_v3(false));
    let affine = resolved(&inception, json!({"batch_norm": "affine"}));
    let phase = &affine.phases[1];
    assert_eq!(phase.trainable_params - affine.head.params, 11_108_352 + 6528, "Keras's InceptionV3 has no scale");
    let of = |suffix: &str| phase.parameters.iter().filter(|weight| weight.name.ends_with(suffix)).count();
    assert_eq!((of("/kernel"), of("/beta"), of("/gamma"), of("/moving_mean")), (18, 18, 0, 0));
    assert!(phase.parameters.iter().all(|weight| weight.regularized == weight.name.ends_with("/kernel")));
}

#[test]
fn recipes_survive_json() {
    let body = json!({
        "head": {"pool": "avg", "hidden": [64, 32], "dropout": 0.5}, "seed": 9, "class_weights": "balanced", "base": "inception_v3@1",
        "phases": [{"trainable": "head", "epochs": 2, "l2": 0.01, "optimizer":
            {"type": "sgd", "learning_rate": 0.1, "learning_rate_decay": 0.5, "schedule": "cosine", "momentum": 0.9, "nesterov": true}},
            {"trainable_from": "mixed9", "optimizer": {"type": "adam"}, "learning_rate": 0.3}],
        "early_stopping": {"patience": 3}, "horizontal_flip": true, "validation_split": 0.3,
        "preprocessing": {"resize": "bicubic", "orientation": "ignore"}
    });
    let recipe = resolved(&model(&inception_v3(false)), body);
    let text = serde_json::to_string(&recipe).expect("JSON");
    assert_eq!(serde_json::from_str::<Recipe>(&text).expect("a recipe"), recipe);
    let adam = json!({"type": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7});
    assert_eq!(json!(recipe.phases[1].optimizer), adam);
    assert_eq!(recipe.phases[1].learning_rate.initial, 0.3);
    assert_eq!((recipe.class_weights.as_slice(), recipe.validation.val), (&[1.0, 1.0][..], 6));
    assert_eq!(recipe.early_stopping.map(|stopping| stopping.patience), Some(3));
}

/// Checks all problems that `body` has with InceptionV3, each as `field detail`.
#[track_caller]
fn check_problems(body: Value, expected: &[&str]) {
    let inception = model(&inception_v3(false));
    let found = request(body).resolve_on(&inception.metadata, &inception.graph, &samples()).expect_err("it is wrong");
    let found: Vec<String> = found.iter().map(|problem| format!("{} {}", problem.field, problem.detail)).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_problem_is_told_at_once() {
    check_problems(
        json!({"dataset": null, "name": "-", "recipe": "pytorch", "batch_size": 0, "validation_split": 1.0, "class_weights": "some", "base": "a@0",
            "head": {"dropout": 1.0, "hidden": [0]}, "early_stopping": {"monitor": "loss"}, "batch_norm": "on",
            "preprocessing": {"resize": "lanczos"}}),
        &[
            "name is `-`; a model name has 1 to 64 ASCII letters, digits, `.`, `_` or `-` and starts with a letter or digit",
            "base is `a@0`; write `NAME`, or `NAME@VERSION` with a version such as `a@1`",
            "recipe is `pytorch`; use `default` or `keras`",
            "dataset is missing; it is required",
            "head.hidden[0] is 0; it must be at least 1 and at most 65536",
            "head.dropout is 1; it must be at least 0 and less than 1",
            "batch_size is 0; it must be at least 1 and at most 1024",
            "validation_split is 1; it must be at least 0 and less than 1",
            "class_weights is `some`; use `none` or `balanced`",
            "early_stopping.patience is missing; say after how many epochs without improvement a phase ends",
            "early_stopping.monitor is `loss`; use `val_loss`",
            "batch_norm is `on`; use `frozen` or `affine`",
            "preprocessing.resize is `lanczos`; use `nearest`, `bilinear`, `bicubic` or `opencv_bilinear`",
            "early_stopping needs validation images; set `validation_split` above 0, or leave it out",
        ],
    );
}

#[test]
fn phases_are_checked() {
    check_problems(
        json!({"phases": [{"trainable_from": "mixed8"}, {"trainable": "head"}]}),
        &["phases[1] freezes `conv2d_80/kernel`, which the phase before it trains; begin at the same layer or an earlier one"],
    );
    check_problems(
        json!({"phases": [{}, {"trainable": "all"}, {"trainable": "head", "trainable_from": 1, "epochs": -1}, {"trainable": "head",
            "learning_rate": 1.0, "optimizer": {"type": "adamw", "learning_rate": 2.0, "schedule": "step"}},
            {"trainable": "head", "optimizer": {"type": "adam", "momentum": 0.9, "beta_1": 1.0}},
            {"trainable": "head", "optimizer": {"learning_rate": 0}, "l2": -1, "start_from": "first"}]}),
        &[
            "phases[0].trainable is missing; say either `\"trainable\": \"head\"` or `\"trainable_from\": LAYER` (a name or an index)",
            "phases[1].trainable is `all`; use `head`, or `trainable_from`",
            "phases[2].trainable_from does not go with `trainable`; say either `\"trainable\": \"head\"` or \
             `\"trainable_from\": LAYER` (a name or an index)",
            "phases[2].epochs is -1; it must be at least 1 and at most 10000",
            "phases[3].optimizer.type is `adamw`; use `sgd`, `rmsprop` or `adam`",
            "phases[3].learning_rate is given here and in `optimizer`; leave one `learning_rate` out",
            "phases[3].optimizer.schedule is `step`; use `constant` or `cosine`",
            "phases[4].optimizer.beta_1 is 1; it must be at least 0 and less than 1",
            "phases[4].optimizer.momentum is not a parameter of `adam`, which has `beta_1`, `beta_2` or `epsilon` besides its `learning_rate`; leave it out",
            "phases[5].start_from is `first`; use `best` or `last`",
            "phases[5].optimizer.type is missing; use `sgd`, `rmsprop` or `adam`",
            "phases[5].optimizer.learning_rate is 0; it must be more than 0 and at most 1000000000",
            "phases[5].l2 is -1; it must be at least 0 and at most 1000000000",
        ],
    );
    check_problems(
        json!({"phases": [{"trainable": "head", "optimizer": {"type": "sgd", "lr": 1, "momentum": "much", "nesterov": 1}},
            {"trainable": "head", "optimizer": {"lr": 1, "rho": 0.5}}, {"trainable": "head", "optimizer": {"type": 7}}]}),
        &[
            "phases[0].optimizer.lr is called `learning_rate`",
            "phases[0].optimizer.momentum is `much`; it must be a number",
            "phases[0].optimizer.nesterov is `1`; it must be true or false",
            "phases[1].optimizer.type is missing; use `sgd`, `rmsprop` or `adam`",
            "phases[1].optimizer.lr is called `learning_rate`",
            "phases[2].optimizer.type is `7`; use `sgd`, `rmsprop` or `adam`",
        ],
    );
    check_problems(
        json!({"head": {"keep_fc": true}}),
        &["head.keep_fc needs a base of vgg16 with its own dense layers, which `inception_v3` does not have; leave it out"],
    );
    check_problems(
        json!({"phases": [{"trainable_from": "mixd8"}, {"trainable_from": 311}, {"trainable_from": -312}, {"trainable_from": "mixed10"}]}),
        &[
            "phases[0].trainable_from is `mixd8`, which is not a layer of `inception_v3`; did you mean `mixed8`? \
             `GET /models/inception_v3/layers` and `graft layers inception_v3` list them",
            "phases[1].trainable_from is 311; the layers of `inception_v3` below the head have indices 0 to 310, or -1 (`mixed10`) \
             to -311 from the end; `GET /models/inception_v3/layers` and `graft layers inception_v3` list them",
            "phases[2].trainable_from is -312; the layers of `inception_v3` below the head have indices 0 to 310, or -1 (`mixed10`) \
             to -311 from the end; `GET /models/inception_v3/layers` and `graft layers inception_v3` list them",
            "phases[3].trainable_from is `mixed10` (310): nothing between it and the head has weights; \
             start at `conv2d_93` (299) or before it, or use `\"trainable\": \"head\"`",
        ],
    );
    check_problems(
        json!({"phases": []}),
        &["phases is empty; leave it out for the default phases, or add one such as `{\"trainable\": \"head\"}`"],
    );
}

/// Keras's `base.layers[-62:]` with `include_top=False` is the same whether the base here has its top or not.
#[test]
fn a_negative_index_counts_from_where_the_head_sits() {
    for with_top in [false, true] {
        let inception = model(&inception_v3(with_top));
        let from = |start: Value| resolved(&inception, json!({"phases": [{"trainable": "head"}, {"trainable_from": start}]}));
        assert_eq!(from(json!(-62)), from(json!(249)), "with its top: {with_top}");
        assert_eq!(from(json!(-311)), from(json!(0)), "with its top: {with_top}");
    }
}

#[test]
fn a_top_is_left_behind() {
    let mut top = model(&inception_v3(true));
    top.metadata.pretrained = false;
    let recipe = resolved(&top, json!({"phases": [{"trainable_from": 249}]}));
    assert_eq!((recipe.head.on.as_str(), recipe.head.on_index), ("mixed10", 310));
    assert!(recipe.warnings[0].contains("untrained weights") && recipe.warnings[0].contains("graft pull inception_v3"));
    assert!(recipe.warnings.iter().any(|warning| warning.contains("a new head's first gradients")), "{:?}", recipe.warnings);
    let behind = request(json!({"phases": [{"trainable_from": "avg_pool"}]}));
    let problems = behind.resolve_on(&top.metadata, &top.graph, &samples()).expect_err("behind the head");
    assert_eq!(
        problems[0].detail,
        "is `avg_pool` (311), which comes after `mixed10` (310), where the head sits; use at most 310, or `\"trainable\": \"head\"`"
    );
}

#[test]
fn a_graph_of_the_users_trains_its_head() {
    let mut own = model(&inception_v3(true));
    own.metadata.architecture = "onnx".to_owned();
    let recipe = resolved(&own, json!({}));
    assert_eq!((recipe.head.on.as_str(), recipe.head.pool, recipe.phases.len()), ("avg_pool", Pool::None, 1));
    assert!(recipe.warnings[0].contains("add a phase with `trainable_from`"), "{:?}", recipe.warnings);
    own.metadata.features_layer = "mixed9".to_owned();
    let behind = request(json!({"phases": [{"trainable_from": 280}]}));
    assert!(behind.resolve_on(&own.metadata, &own.graph, &samples()).is_err(), "behind `mixed9`");
    assert_eq!(resolved(&own, json!({"phases": [{"trainable_from": 249}]})).head.on, "mixed9");
}

#[test]
fn data_sets_are_checked() {
    let inception = model(&inception_v3(false));
    let check = |body: Value, samples: Samples, expected: &str| {
        let problems = request(body).resolve_on(&inception.metadata, &inception.graph, &samples).expect_err("it is wrong");
        assert_eq!(problems[0].detail, expected);
    };
    let mut folders = samples();
    folders.images[0].split = Split::Val;
    check(json!({"validation_split": 0.1}), folders, "does not go with a data set that has its own `val/` folder; leave it out");
    let mut single = samples();
    single.classes.truncate(1);
    single.images.truncate(10);
    check(json!({}), single, "has 1 classes; a classifier needs at least two class folders");
    let mut untrained = samples();
    untrained.images[10..].iter_mut().for_each(|image| image.split = Split::Val);
    check(json!({}), untrained, "has no training image of class `bees`; add some, or remove its folder");
    let recipe = resolved(&inception, json!({"validation_split": 0.0}));
    assert!(recipe.warnings[0].starts_with("validation_split: no image is kept"), "{:?}", recipe.warnings);
}

#[test]
fn unknown_fields_are_refused() {
    let check = |body: Value, expected: &str| {
        let error = serde_json::from_value::<Request>(body).expect_err("an unknown field").to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(json!({"datset": "d"}), "unknown field `datset`");
    check(json!({"phases": [{"epoch": 1}]}), "unknown field `epoch`");
    check(json!({"head": {"units": 1}}), "unknown field `units`");
}
