//! `graft keys`: API keys made, listed, changed and revoked, beside servers that run.

use std::time::SystemTime;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global, answer,
    context::block_on,
    expiry::{Bound, Expiry},
};
use crate::{
    access::{Key, KeyName, Limits, Scope},
    config::{Auth, Config},
    jobs::{self, Jobs},
    registry::rfc3339,
};

/// Say who may use the servers on this data folder, with keys that count within a second, without a restart.
///
/// As soon as there is a key, every request needs one (`Authorization: Bearer KEY` or `X-API-Key: KEY`), except for health and the
/// documentation; that stays so when the last key is revoked. `server.auth` has the other rules. docs/security.md tells more.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and show it, once
    Create(Create),
    /// List the keys that were not revoked; no command shows a key again
    List(List),
    /// Change what a key may do, and how much
    Set(Set),
    /// End a key for good; requests that it let in go on
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Create {
    /// What it is called in lists and logs: letters a to z, digits, `.`, `_`, `-`
    name: KeyName,
    /// What its holder may do: predict, train (which includes predict) or admin (everything)
    #[arg(long, value_delimiter = ',', default_value = "predict")]
    scope: Vec<Scope>,
    /// Most images a second; a request of 64 images counts as 64 [default: no bound]
    #[arg(long, value_name = "N", value_parser = rate)]
    images_per_second: Option<u32>,
    /// Most images at once after a rest, and so in one request [default: as --images-per-second]
    #[arg(long, value_name = "N", value_parser = number)]
    burst: Option<u32>,
    /// Most requests whose work or answer has not ended [default: no bound]
    #[arg(long, value_name = "N", value_parser = number)]
    in_flight: Option<u32>,
    /// When it ends: after a time such as 90d, 12h or 30m, or at a date such as 2027-01-31 [default: never]
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    /// Answer with JSON, the key among its fields
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct List {
    /// Also those that were revoked
    #[arg(long)]
    all: bool,
    /// One JSON object per key
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Set {
    /// The key's name
    name: KeyName,
    /// What its holder may do
    #[arg(long, value_delimiter = ',')]
    scope: Option<Vec<Scope>>,
    /// Most images a second, or `none`
    #[arg(long, value_name = "N")]
    images_per_second: Option<Bound>,
    /// Most images at once after a rest, or `none` for as many as a second has
    #[arg(long, value_name = "N")]
    burst: Option<Bound>,
    /// Most requests in flight, or `none`
    #[arg(long, value_name = "N")]
    in_flight: Option<Bound>,
    /// When it ends, as for `create`, or `never`
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Revoke {
    /// The key's name
    name: KeyName,
}

impl Keys {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = global.config(&[])?;
        let file = Jobs::file(&config.data.dir);
        if !matches!(self.command, Command::Create(_)) && !file.exists() {
            if let Some(marker) = jobs::Keys::marker(&config.data.dir) {
                bail!(
                    "{} does not exist, and keys were made there ({}): put it back, or make new ones (`graft keys create`)",
                    file.display(),
                    marker.display()
                );
            }
            bail!("{} does not exist, so there are no keys; `--set data.dir=DIR` names another data folder", file.display());
        }
        let is_new = !file.exists();
        block_on(async {
            let keys = jobs::Keys::open(&config.data.dir).await?;
            match self.command {
                Command::Create(create) => create.run(&keys, &config, is_new).await,
                Command::List(list) => list.run(&keys, &config).await,
                Command::Set(set) => set.run(&keys).await,
                Command::Revoke(revoke) => revoke.run(&keys).await,
            }
        })?
    }
}

impl Create {
    async fn run(self, keys: &jobs::Keys, config: &Config, is_new: bool) -> anyhow::Result<()> {
        let Self { name, scope, images_per_second, burst, in_flight, expires, json } = self;
        let limits = Limits { images_per_second, burst, in_flight };
        let expires = expires.and_then(|expires| expires.after(SystemTime::now()));
        check_expiry(expires)?;
        if is_new {
            answer::note(format_args!(
                "there was no `jobs.db` in {}, and now there is: a server whose data folder is another (`--set data.dir=DIR`, \
                 `GRAFT__DATA__DIR`) knows nothing of this key",
                std::path::absolute(&config.data.dir)?.display()
            ));
        }
        let first = keys.list().await?.is_empty() && keys.revoked().await?.is_empty();
        let (key, new) = keys.create(&name, widest(&scope), limits, expires).await?;
        if json {
            let mut shown = described(&key);
            shown["key"] = new.reveal().into();
            answer::exact(shown)?;
        } else {
            answer::exact(new.reveal())?;
        }
        answer::note(format_args!("this is the key `{name}` ({}); it is not shown again", key.scope));
        match config.server.auth {
            Auth::Off => answer::note(format_args!(
                "`server.auth` is `off` in this configuration: a server with it lets everybody in all the same"
            )),
            Auth::Auto if first => answer::note(format_args!(
                "it is the first: servers on {} let nobody in without a key from now on, also when it is revoked",
                config.data.dir.display()
            )),
            Auth::Auto | Auth::Required => {}
        }
        Ok(())
    }
}

impl List {
    async fn run(self, keys: &jobs::Keys, config: &Config) -> anyhow::Result<()> {
        let mut shown = keys.list().await?;
        if self.all {
            shown.extend(keys.revoked().await?);
        }
        let unreadable = keys.unreadable().await?;
        for key in &unreadable {
            answer::note(format_args!("{key}"));
        }
        if shown.is_empty() && !unreadable.is_empty() {
            answer::note(format_args!(
                "no key in {} can be read: nobody is let in until there is another",
                config.data.dir.display()
            ));
        } else if shown.is_empty() && !keys.revoked().await?.is_empty() {
            answer::note(format_args!(
                "all keys in {} were revoked (`--all` lists them): nobody is let in until there is another",
                config.data.dir.display()
            ));
        } else if let (true, Some(marker)) = (shown.is_empty(), jobs::Keys::marker(&config.data.dir)) {
            answer::note(format_args!(
                "the keys that were made in {} are gone with their `jobs.db`: nobody is let in until that is put back, there is another \
                 (`graft keys create NAME`), or {} is removed",
                config.data.dir.display(),
                marker.display()
            ));
        } else if shown.is_empty() {
            answer::note(format_args!("no keys in {}; `graft keys create NAME` makes one", config.data.dir.display()));
        } else if !self.json {
            answer::line(headings())?;
        }
        for key in &shown {
            match self.json {
                true => answer::exact(described(key))?,
                false => answer::line(row(key))?,
            }
        }
        Ok(())
    }
}

impl Set {
    async fn run(self, keys: &jobs::Keys) -> anyhow::Result<()> {
        let Self { name, scope, images_per_second, burst, in_flight, expires, json } = self;
        if scope.is_none() && images_per_second.is_none() && burst.is_none() && in_flight.is_none() && expires.is_none() {
            bail!("nothing to set: give `--scope`, `--images-per-second`, `--burst`, `--in-flight` or `--expires`");
        }
        check_expiry(expires.and_then(|expires| expires.after(SystemTime::now())))?;
        let change = |key: &mut Key| {
            let set = |value: &mut Option<u32>, bound: Option<Bound>| *value = bound.map_or(*value, |Bound(bound)| bound);
            key.scope = scope.as_deref().map_or(key.scope, widest);
            set(&mut key.limits.images_per_second, images_per_second);
            set(&mut key.limits.burst, burst);
            if burst.is_none() && key.limits.images_per_second.is_none() {
                // A burst of nothing: it goes with the limit that it belongs to.
                key.limits.burst = None;
            }
            set(&mut key.limits.in_flight, in_flight);
            key.expires = expires.map_or(key.expires, |expires| expires.after(SystemTime::now()));
        };
        let key = keys.set(&name, change).await?;
        if json {
            return Ok(answer::exact(described(&key))?);
        }
        answer::line(headings())?;
        Ok(answer::line(row(&key))?)
    }
}

impl Revoke {
    async fn run(self, keys: &jobs::Keys) -> anyhow::Result<()> {
        keys.revoke(&self.name).await?;
        answer::note(format_args!("the key `{}` lets nobody in any more", self.name));
        if keys.list().await?.is_empty() {
            answer::note(format_args!(
                "it was the last one: nobody is let in until there is another (`graft keys create`), unless `server.auth` is `off`"
            ));
        }
        Ok(())
    }
}

fn check_expiry(expires: Option<SystemTime>) -> anyhow::Result<()> {
    if expires.is_some_and(|expires| expires <= SystemTime::now()) {
        bail!("the key would have expired already; give a time to come (`--expires`), or end it with `graft keys revoke`");
    }
    Ok(())
}

/// Each scope includes those before it, so that the widest says it all.
fn widest(scopes: &[Scope]) -> Scope {
    scopes.iter().copied().max().unwrap_or(Scope::Predict)
}

fn number(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=Bound::MAX).contains(number));
    number.ok_or_else(|| format!("give a whole number from 1 to {}", Bound::MAX))
}

fn rate(text: &str) -> Result<u32, String> {
    let less = "one a second is the least (with `--burst 1` never two at once); for fewer, let the key end (`--expires 1h`)";
    number(text).map_err(|error| format!("{error}; {less}"))
}

fn row(key: &Key) -> String {
    let bound = |bound: Option<u32>| bound.map_or_else(|| "-".to_owned(), |bound| bound.to_string());
    let Limits { images_per_second, burst, in_flight } = key.limits;
    let ends = match (key.revoked, key.expires) {
        (Some(revoked), _) => format!("revoked {}", rfc3339(revoked)),
        (None, Some(expires)) if expires <= SystemTime::now() => format!("expired {}", rfc3339(expires)),
        (None, Some(expires)) => rfc3339(expires),
        (None, None) => "-".to_owned(),
    };
    let burst = bound(burst.or(images_per_second));
    let texts = [key.name.to_string(), key.scope.to_string(), bound(images_per_second), burst, bound(in_flight)];
    let [name, scope, images, burst, in_flight] = texts;
    columns([name, scope, images, burst, in_flight, rfc3339(key.created), ends])
}

fn headings() -> String {
    columns(["NAME", "SCOPE", "IMAGES/S", "BURST", "IN FLIGHT", "CREATED", "ENDS"].map(str::to_owned))
}

fn columns([name, scope, images, burst, in_flight, created, ends]: [String; 7]) -> String {
    format!("{name:<24} {scope:<8} {images:>8} {burst:>8} {in_flight:>9}  {created:<20}  {ends}")
}

fn described(key: &Key) -> Value {
    let Limits { images_per_second, burst, in_flight } = key.limits;
    json!({
        "name": key.name.as_str(),
        "id": key.id.0,
        "scope": key.scope.name(),
        "images_per_second": images_per_second,
        "burst": burst.or(images_per_second),
        "in_flight": in_flight,
        "created": rfc3339(key.created),
        "expires": key.expires.map(rfc3339),
        "revoked": key.revoked.map(rfc3339),
    })
}
