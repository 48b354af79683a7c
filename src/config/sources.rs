//! Where values come from, and which wins.
//!
//! The only reader of the process's environment; everything else gets it handed.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{
    Environment, KEY_LISTS,
    error::{ConfigError, Given},
    key::{Key, KeyPath, Origin, VARIABLE_PREFIX, Values, shown},
    regular::read_text,
};
use crate::message::Listed;

const DEFAULT: &str = include_str!("../../config/default.toml");
const PRODUCTION: &str = include_str!("../../config/production.toml");

/// Everything that a configuration is made of, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Folder with `default.toml`, `development.toml`, `production.toml`; any of them may be missing, not all.
    pub config_dir: Option<PathBuf>,
    /// Environment variables; of interest are `GRAFT_ENVIRONMENT` and `GRAFT__SECTION__KEY`.
    pub variables: Vec<(OsString, OsString)>,
    /// Keys such as `server.port` with their values, from flags.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// The process's variables, and the folder that `GRAFT_CONFIG_DIR` names, else `config` when it holds a configuration.
    pub fn from_process() -> Self {
        let default = || Path::new("config/default.toml").is_file().then(|| "config".into());
        let config_dir = std::env::var_os("GRAFT_CONFIG_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from).or_else(default);
        Self { config_dir, variables: std::env::vars_os().collect(), overrides: Vec::new() }
    }

    /// What is not read though it looks like a setting: variables with one underscore where settings have two.
    pub fn notes(&self) -> Vec<String> {
        let names = self.variables.iter().filter_map(|(name, _)| name.to_str());
        let looks_like = |rest: &str, key: &Key| {
            key.path.replace('.', "_") == rest || key.path.rsplit('.').next().is_some_and(|last| last == rest)
        };
        let note = |name: &str| {
            let rest = name.strip_prefix("GRAFT_").filter(|_| !name.starts_with(VARIABLE_PREFIX))?.to_lowercase();
            let meant: Vec<String> = keys().filter(|key| looks_like(&rest, key)).map(Key::variable).collect();
            (!meant.is_empty()).then(|| {
                format!("`{name}` is not read: the variables of settings have two underscores, as {}", Listed::of(meant))
            })
        };
        names.filter_map(note).collect()
    }

    /// All values, the winning one per key, and the environment they are for.
    pub(super) fn read(&self) -> Result<(Environment, Values), ConfigError> {
        let environment = self.environment()?;
        let mut values = Values::default();
        merge(&mut values, DEFAULT, &Origin::Default)?;
        let default = self.file("default.toml")?;
        let specific = self.file(&format!("{}.toml", environment.name()))?;
        if let (Some(dir), None, None) = (&self.config_dir, &default, &specific) {
            return Err(ConfigError::NoFiles { dir: dir.clone(), environment: environment.name() });
        }
        if let Some((text, origin)) = default {
            merge(&mut values, &text, &origin)?;
        }
        match specific {
            Some((text, origin)) => merge(&mut values, &text, &origin)?,
            None if environment == Environment::Production => merge(&mut values, PRODUCTION, &Origin::Default)?,
            None => {}
        }
        for (name, value) in &self.variables {
            merge_variable(&mut values, name, value)?;
        }
        for (key, text) in &self.overrides {
            let path: KeyPath = key.split('.').map(str::to_owned).collect();
            let key = find(&path).ok_or_else(|| unknown(&path, Origin::Flag))?;
            insert(&mut values, key, path, key.kind.parse(text), Origin::Flag)?;
        }
        Ok((environment, values))
    }

    fn environment(&self) -> Result<Environment, ConfigError> {
        let Some((_, value)) = self.variables.iter().find(|(name, value)| name == "GRAFT_ENVIRONMENT" && !value.is_empty())
        else {
            return Ok(Environment::Development);
        };
        let all = [Environment::Development, Environment::Production];
        let chosen = all.into_iter().find(|environment| value == environment.name());
        chosen.ok_or_else(|| ConfigError::Environment(value.to_string_lossy().into_owned()))
    }

    fn file(&self, name: &str) -> Result<Option<(String, Origin)>, ConfigError> {
        let Some(dir) = &self.config_dir else { return Ok(None) };
        let path = dir.join(name);
        match read_text(&path) {
            Ok(text) => Ok(Some((text, Origin::File(path)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }
}

fn merge(values: &mut Values, text: &str, origin: &Origin) -> Result<(), ConfigError> {
    let path = || match origin {
        Origin::File(path) => path.clone(),
        _ => "built-in".into(),
    };
    let table: Table = toml::from_str(text).map_err(|source| ConfigError::Syntax { path: path(), source: source.into() })?;
    merge_table(values, &table, &mut Vec::new(), origin)
}

fn merge_table(values: &mut Values, table: &Table, path: &mut KeyPath, origin: &Origin) -> Result<(), ConfigError> {
    for (name, value) in table {
        path.push(name.clone());
        match (find(path), value) {
            (Some(key), value) => insert(values, key, path.clone(), value.clone(), origin.clone())?,
            (None, Value::Table(table)) if is_section(path) => merge_table(values, table, path, origin)?,
            (None, _) => return Err(unknown(path, origin.clone())),
        }
        path.pop();
    }
    Ok(())
}

fn merge_variable(values: &mut Values, name: &OsStr, value: &OsStr) -> Result<(), ConfigError> {
    let name = name.to_string_lossy();
    let Some(path) = name.strip_prefix(VARIABLE_PREFIX) else { return Ok(()) };
    let path: KeyPath = path.split("__").map(str::to_lowercase).collect();
    let origin = Origin::Variable(name.to_string());
    let key = find(&path).ok_or_else(|| unknown(&path, origin.clone()))?;
    let Some(text) = value.to_str() else {
        let (key, value) = (path.join("."), value.to_string_lossy().into_owned());
        let given = Box::new(Given { key, value, origin });
        return Err(ConfigError::Invalid { given, expected: "UTF-8 text".into() });
    };
    insert(values, key, path, key.kind.parse(text), origin)
}

fn insert(values: &mut Values, key: &Key, path: KeyPath, value: Value, origin: Origin) -> Result<(), ConfigError> {
    if !key.kind.accepts(&value) {
        let expected = key.kind.to_string();
        let given = Box::new(Given { key: path.join("."), value: shown(&value), origin });
        return Err(ConfigError::Invalid { given, expected });
    }
    values.set(path, value, origin);
    Ok(())
}

fn keys() -> impl Iterator<Item = &'static Key> {
    KEY_LISTS.iter().copied().flatten()
}

fn find(path: &[String]) -> Option<&'static Key> {
    keys().find(|key| key.matches(path))
}

/// Whether keys lie below `path`.
fn is_section(path: &[String]) -> bool {
    keys().any(|key| {
        let pattern: Vec<&str> = key.path.split('.').collect();
        path.len() < pattern.len() && path.iter().zip(pattern).all(|(given, own)| own == "*" || own == given)
    })
}

/// Keys that an older graft had: what took their place, and what has changed with the name.
const RENAMED: [(&str, &str, &str); 1] = [(
    "server.body_timeout_ms",
    "server.body_idle_timeout_ms",
    "it bounds silence within a body, not the whole (`server.min_body_bytes_per_second` bounds the rate)",
)];

fn unknown(path: &[String], origin: Origin) -> ConfigError {
    /// Below this similarity a suggestion misleads more than it helps.
    const NEAR: f64 = 0.85;
    let given = path.join(".");
    if let Some(error) = renamed(&given, &origin) {
        return error;
    }
    let similarity =
        |key: &Key| strsim::jaro_winkler(&given, key.path).max(strsim::jaro(&given, key.path.rsplit('.').next().unwrap_or("")));
    let nearest = keys().map(|key| (similarity(key), key)).filter(|(near, _)| *near >= NEAR);
    let nearest = nearest.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, key)| key);
    match origin {
        Origin::Variable(ref name) => ConfigError::Unknown { name: name.clone(), nearest: nearest.map(Key::variable), origin },
        origin => ConfigError::Unknown { name: given, nearest: nearest.map(|key| key.path.to_owned()), origin },
    }
}

fn renamed(given: &str, origin: &Origin) -> Option<ConfigError> {
    let (_, now, change) = RENAMED.into_iter().find(|(name, ..)| *name == given)?;
    let key = keys().find(|key| key.path == now)?;
    let (name, now) = match origin {
        Origin::Variable(name) => (name.clone(), key.variable()),
        Origin::Default | Origin::File(_) | Origin::Flag => (given.to_owned(), now.to_owned()),
    };
    Some(ConfigError::Renamed { name, origin: origin.clone(), now, change })
}
