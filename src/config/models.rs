//! `[models]`: the repository and what is loaded from it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    error::ConfigError,
    key::{Key, Kind, Values, integer, milliseconds, of},
};

/// Where earlier versions of graft kept models, below the working directory.
const FORMER_DIR: &str = "models";

/// `[models]`: the repository and what is loaded from it.
#[derive(Debug, Clone)]
pub struct ModelsConfig {
    /// Folder of the model repository; default `models` below `data.dir`, or [`Self::former_dir`]; `GRAFT__MODELS__DIR`.
    pub dir: PathBuf,
    /// `models` in the working directory, where earlier versions kept their models, if it holds some.
    pub former_dir: Option<PathBuf>,
    /// Model that answers requests without `model=`, if it is trained; default `vgg16`; `GRAFT__MODELS__DEFAULT`.
    pub default: String,
    /// Models loaded and warmed at start, before `/readyz` is 200; default: the one that answers requests without `model=`;
    /// `GRAFT__MODELS__PRELOAD`.
    pub preload: Option<Vec<String>>,
    /// Weights of the starter, the catalogue's small trained model: `graft serve` imports them when the repository does not hold
    /// it; default: none; `GRAFT__MODELS__STARTER`.
    pub starter: Option<PathBuf>,
    /// Bound on the weights of all loaded models together, in bytes; default 4 GiB; `GRAFT__MODELS__MAX_LOADED_BYTES`.
    pub max_loaded_bytes: u64,
    /// Largest file that `POST /jobs/import` takes, in bytes; default 0: none is taken; `GRAFT__MODELS__MAX_IMPORT_BYTES`.
    pub max_import_bytes: u64,
    /// How long examining an ONNX file may take that is imported; default 10 min; `GRAFT__MODELS__IMPORT_TIMEOUT_MS`.
    pub import_timeout: Duration,
    /// How often the repository is scanned for new versions; default 2 s; `GRAFT__MODELS__SCAN_INTERVAL_MS`.
    pub scan_interval: Duration,
    /// Whether models with untrained weights may be served; default true, false in production; `GRAFT__MODELS__ALLOW_UNTRAINED`.
    pub allow_untrained: bool,
}

pub(super) const KEYS: &[Key] = &[
    of("models.dir", Kind::Text),
    of("models.default", Kind::Text),
    of("models.preload", Kind::List),
    of("models.starter", Kind::Text),
    integer("models.max_loaded_bytes", 1 << 20, 1 << 50),
    integer("models.max_import_bytes", 0, 1 << 40),
    milliseconds("models.import_timeout_ms", 1000),
    milliseconds("models.scan_interval_ms", 100),
    of("models.allow_untrained", Kind::Boolean),
];

impl ModelsConfig {
    pub(super) fn from_values(values: &Values, data: &Path) -> Result<Self, ConfigError> {
        let (dir, former_dir) = match values.optional_text("models.dir") {
            Some(dir) => (dir.into(), None),
            None => default_dir(data, Path::new(FORMER_DIR)),
        };
        let default = values.text("models.default").to_owned();
        let preload = values.optional_list("models.preload");
        let names =
            [("models.default", std::slice::from_ref(&default)), ("models.preload", preload.as_deref().unwrap_or_default())];
        for (key, names) in names {
            if names.iter().any(|name| name.contains('@')) {
                return Err(values.invalid(key, "the name of a model, without a version: `PUT /models/NAME/stable` chooses that"));
            }
        }
        Ok(Self {
            dir,
            former_dir,
            default,
            preload,
            starter: values.optional_text("models.starter").map(PathBuf::from),
            max_loaded_bytes: values.integer("models.max_loaded_bytes"),
            max_import_bytes: values.integer("models.max_import_bytes"),
            import_timeout: values.duration("models.import_timeout_ms"),
            scan_interval: values.duration("models.scan_interval_ms"),
            allow_untrained: values.boolean("models.allow_untrained"),
        })
    }

    /// What to tell the operator of an installation whose models are where earlier versions kept them.
    pub fn former_dir_note(&self) -> Option<String> {
        let former = self.former_dir.as_ref()?.display();
        let dir = self.dir.display();
        Some(if self.former_dir.as_ref() == Some(&self.dir) {
            format!(
                "using the models in `{former}`, where an earlier graft kept them; new installations use `models` below \
                 `data.dir`: move the folders there, or set `models.dir`"
            )
        } else {
            format!("`{former}` holds models of an earlier graft, which are not served: move their folders to `{dir}`")
        })
    }
}

/// `models` below `data`; but `former` where models are there alone. And `former`, if it holds models.
fn default_dir(data: &Path, former: &Path) -> (PathBuf, Option<PathBuf>) {
    let dir = data.join("models");
    let former_dir = holds_models(former).then(|| former.to_owned());
    match &former_dir {
        Some(former) if !holds_models(&dir) => (former.clone(), former_dir),
        _ => (dir, former_dir),
    }
}

/// Whether `dir` has something that looks like a version of a model: a numbered folder with its three files.
fn holds_models(dir: &Path) -> bool {
    let folders = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_version = |folder: &Path| {
        let is_number = folder.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        is_number && ["metadata.json", "graph.onnx", "weights.bin"].iter().all(|file| folder.join(file).is_file())
    };
    folders(dir).any(|model| folders(&model).any(|version| is_version(&version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_an_earlier_graft_are_found() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (data, former) = (folder.path().join("data"), folder.path().join("models"));
        let publish = |dir: &Path| {
            let version = dir.join("vgg16/1");
            std::fs::create_dir_all(&version).expect("a folder can be made");
            for file in ["metadata.json", "graph.onnx", "weights.bin"] {
                std::fs::write(version.join(file), "{}").expect("it can be written to");
            }
        };
        let config = || {
            let (dir, former_dir) = default_dir(&data, &former);
            ModelsConfig {
                dir,
                former_dir,
                default: "vgg16".to_owned(),
                preload: None,
                starter: None,
                max_loaded_bytes: 0,
                max_import_bytes: 0,
                import_timeout: Duration::ZERO,
                scan_interval: Duration::ZERO,
                allow_untrained: true,
            }
        };
        assert_eq!((config().dir, config().former_dir_note()), (data.join("models"), None));
        // The catalogue of a clone is no model.
        std::fs::create_dir(&former).expect("a folder can be made");
        std::fs::write(former.join("vgg16.toml"), "").expect("it can be written to");
        assert_eq!((config().dir, config().former_dir_note()), (data.join("models"), None));
        publish(&former);
        assert_eq!(config().dir, former);
        assert!(config().former_dir_note().expect("a note").starts_with("using the models in"));
        publish(&data.join("models"));
        assert_eq!(config().dir, data.join("models"));
        assert!(config().former_dir_note().expect("a note").contains("are not served"));
    }
}
