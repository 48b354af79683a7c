//! `graft doctor`: what is wrong with this installation, and what to do about it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use clap::Args;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{Global, answer, context::block_on};
use crate::{
    access::Refused,
    app::exposure,
    config::{Auth, Config, Provider, ServerConfig},
    graph::Graph,
    http::{Tls, ended},
    inference::{Needs, choose},
    jobs::{self, Jobs, Keys, LeaseReport, LeaseStatus, Listing, State},
    registry::{ModelVersion, Repository, Snapshot, TemporaryFile, known_model, rfc3339},
    runtime::{self, Runtime},
    telemetry::chain,
};

/// Room for one VGG16 download and its import.
const COMFORTABLE_BYTES: u64 = 2 << 30;

/// Check library, provider, models, folders and disk, and say what to do.
///
/// With `--url` or `--running` it asks a running server instead whether it is ready; containers use that as their health check.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// A running server, such as http://127.0.0.1:8080
    #[arg(long)]
    url: Option<String>,
    /// The certificate, in PEM, of whoever signed the server's, or the server's own: it is trusted instead of the well-known ones
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// The server that this configuration starts on this machine, over HTTPS where it has a certificate
    #[arg(long, conflicts_with = "url")]
    running: bool,
}

impl Doctor {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let mut report = Report::default();
        match &self.url {
            Some(url) => {
                let trusted = self.ca.as_deref().map(trusted).transpose()?;
                server(url, &agent(TlsConfig::builder().root_certs(trusted.unwrap_or(RootCerts::WebPki)).build()), &mut report);
            }
            None if self.running => running(&global.config(&[])?.server, &mut report),
            None => installation(&global.config(&[])?, &mut report),
        }
        report.line(report.summary());
        Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

#[derive(Default)]
struct Report {
    failed: bool,
    warnings: usize,
}

impl Report {
    /// Without a reader the exit status still tells.
    fn line(&self, text: impl std::fmt::Display) {
        let _ = answer::line(text);
    }

    fn ok(&self, what: &str, detail: impl std::fmt::Display) {
        self.line(format_args!("ok    {what}: {detail}"));
    }

    fn summary(&self) -> String {
        match (self.failed, self.warnings) {
            (true, _) => "something is wrong; see FAIL above".to_owned(),
            (false, 0) => "all is well".to_owned(),
            (false, 1) => "graft can answer; see the warning above".to_owned(),
            (false, warnings) => format!("graft can answer; see the {warnings} warnings above"),
        }
    }

    fn warn(&mut self, what: &str, detail: impl std::fmt::Display) {
        self.warnings += 1;
        self.line(format_args!("warn  {what}: {detail}"));
    }

    fn fail(&mut self, what: &str, detail: impl std::fmt::Display) {
        self.failed = true;
        self.line(format_args!("FAIL  {what}: {detail}"));
    }
}

/// Asks the server at its own address: whatever name its certificate is for, nobody else can be there.
fn running(config: &ServerConfig, report: &mut Report) {
    let host = match config.host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", SocketAddr::from((host, config.port)));
    server(&url, &agent(TlsConfig::builder().disable_verification(true).build()), report);
}

/// The certificates in the file `path`.
fn trusted(path: &Path) -> anyhow::Result<RootCerts> {
    let text = std::fs::read(path).with_context(|| format!("cannot read `{}` (`--ca`)", path.display()))?;
    let items = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = items.collect();
    if certificates.is_empty() {
        bail!("`{}` (`--ca`) holds no certificate in PEM", path.display());
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

fn agent(tls: TlsConfig) -> ureq::Agent {
    let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).tls_config(tls);
    agent.http_status_as_error(false).build().into()
}

fn server(url: &str, agent: &ureq::Agent, report: &mut Report) {
    let ready = format!("{}/readyz", url.trim_end_matches('/'));
    match agent.get(&ready).call() {
        Ok(response) if response.status().is_success() => report.ok("server", format_args!("{url} is ready")),
        Ok(mut response) => {
            let body = response.body_mut().read_to_string().unwrap_or_default();
            report.fail("server", format_args!("{url} is not ready: {} {body}", response.status()));
        }
        Err(error) if error.to_string().contains("invalid peer certificate") => report.fail(
            "server",
            format_args!(
                "{ready} has a certificate that is not trusted here ({error}): ask by a name that it is for, give the certificate of \
                 whoever signed it (`--ca FILE`; one that signs itself has to say `CA:FALSE`, as that in docs/security.md does), or ask on \
                 the server's machine with `--running`, which trusts any"
            ),
        ),
        Err(error) => report.fail("server", format_args!("{ready} cannot be reached: {error}")),
    }
}

fn installation(config: &Config, report: &mut Report) {
    let runtime = library(config, report);
    if let Some(runtime) = &runtime {
        providers(config, runtime, report);
    }
    models(config, report);
    for (what, folder) in [("models folder", &config.models.dir), ("data folder", &config.data.dir)] {
        writable(what, folder, report);
    }
    if let Err(error) = jobs(config, report) {
        report.fail("jobs", format_args!("{error:#}"));
    }
    if let Err(error) = access(config, report) {
        report.fail("access", format_args!("{error:#}"));
    }
    if let Some(files) = &config.server.tls {
        let (certificate, key) = (files.certificate.display().to_string(), files.key.display().to_string());
        match Tls::open(files.clone()) {
            Ok(tls) => match (tls.end(), tls.end().and_then(ended)) {
                (_, Some(why)) => report.warn("https", format_args!("{certificate}: {why}; clients refuse it")),
                (Some(end), None) => {
                    let until = rfc3339(end);
                    report.ok("https", format_args!("{certificate} and {key} belong together, until {until}"));
                }
                (None, None) => report.ok("https", format_args!("{certificate} and {key} belong together")),
            },
            Err(error) => report.fail("https", chain(&error)),
        }
    }
    let address = SocketAddr::from((config.server.host, config.server.port));
    match TcpListener::bind(address) {
        Ok(_) => report.ok("address", format_args!("{address} is free")),
        Err(error) => report.warn(
            "address",
            format_args!("{address} cannot be bound ({error}); is graft already running? choose another with `--port`"),
        ),
    }
}

fn library(config: &Config, report: &mut Report) -> Option<Runtime> {
    let opened = runtime::locate(config.runtime.library.as_deref()).and_then(|path| Ok((path, Runtime::open(&config.runtime)?)));
    match opened {
        Ok((path, runtime)) => {
            report.ok("library", format_args!("{} ({})", path.display(), runtime.build_info()));
            Some(runtime)
        }
        Err(error) => {
            report.fail("library", error);
            None
        }
    }
}

fn providers(config: &Config, runtime: &Runtime, report: &mut Report) {
    let choices = std::iter::once(&config.runtime.provider).chain(config.runtime.model_providers.values());
    for choice in choices {
        match (choice.provider, runtime.check(*choice)) {
            (Provider::Cpu, Ok(_)) => report.ok("provider", format_args!("cpu, {} threads", config.runtime.threads)),
            (Provider::Cuda, Ok(in_effect)) => match in_effect.note {
                None => report.ok("provider", "cuda"),
                Some(note) => report.warn("provider", format_args!("the CPU instead of the preferred one: {note}")),
            },
            (_, Err(error)) => report.fail("provider", error),
        }
    }
}

fn models(config: &Config, report: &mut Report) {
    config.models.former_dir_note().iter().for_each(|note| report.warn("models", note));
    let snapshot = match Repository::open(&config.models.dir).and_then(|repository| repository.scan()) {
        Ok(snapshot) => snapshot,
        Err(error) => return report.fail("models", error),
    };
    damages(&snapshot, report);
    for problem in &snapshot.problems {
        report.warn("models", format_args!("{} is ignored: {}", problem.path, problem.reason));
    }
    let starter = config.models.starter.as_ref().filter(|starter| snapshot.models.is_empty() && starter.is_file());
    if let (Some(starter), None) = (starter, &config.models.preload) {
        let starter = starter.display();
        return report.ok("models", format_args!("none yet; `graft serve` imports the starter, {starter} (`models.starter`)"));
    }
    let broken = |version: &ModelVersion| Graph::read(&version.graph_path()).is_err();
    let default = match choose(&snapshot, &config.models.default, Needs::CLASSES, broken) {
        Ok(choice) => {
            choice.note.iter().for_each(|note| report.warn("models", note));
            choice.version.metadata.name.clone()
        }
        Err(error) => return report.fail("models", error),
    };
    for name in config.models.preload.as_ref().unwrap_or(&vec![default]) {
        model(config, &snapshot, name, report);
    }
}

/// Reads every file of every version, and names those that are not as they were published.
fn damages(snapshot: &Snapshot, report: &mut Report) {
    let versions = snapshot.models.iter().flat_map(|model| &model.versions);
    let mut sound = 0;
    for version in versions {
        match version.verify() {
            Ok(()) => sound += 1,
            Err(error) => report.fail("models", error),
        }
    }
    report.ok("files", format_args!("{sound} versions are as they were published, by their SHA-256"));
}

/// The queue of jobs, where there is one, and those whose worker is silent or dead.
fn jobs(config: &Config, report: &mut Report) -> anyhow::Result<()> {
    if !Jobs::file(&config.data.dir).is_file() {
        return Ok(());
    }
    let (waiting, running) = block_on(async {
        let jobs = Jobs::open(&config.jobs, &config.data.dir, jobs::system_clock()).await?;
        let listing = |state| Listing { state: Some(state), limit: u32::MAX, ..Listing::default() };
        let unbounded = |_| Ok::<_, jobs::Error>(());
        let running = jobs.list(&listing(State::Running), unbounded).await?;
        let leases = running.iter().filter_map(|job| Some((job.id.clone(), jobs.lease(job.claim.as_ref())?))).collect::<Vec<_>>();
        Ok::<_, jobs::Error>((jobs.list(&listing(State::Queued), unbounded).await?.len(), leases))
    })??;
    report.ok("jobs", format_args!("{} running, {waiting} waiting", running.len()));
    for (id, LeaseReport { status, reported, expires }) in running {
        match status {
            LeaseStatus::Held => {}
            LeaseStatus::Overdue => report.warn(
                "jobs",
                format_args!(
                    "the worker of job {id} has been silent since {reported}; another one takes the job over after {expires}"
                ),
            ),
            LeaseStatus::Lost => {
                report.warn(
                    "jobs",
                    format_args!("the worker of job {id} has died (its last report: {reported}); `graft serve` resumes the job"),
                );
            }
        }
    }
    Ok(())
}

/// Who may use the server that this configuration starts.
fn access(config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let ServerConfig { host, auth, .. } = config.server;
    let marker = Keys::marker(&config.data.dir);
    let (keys, closed, lost) = match Jobs::file(&config.data.dir).is_file() {
        false => (0, auth == Auth::Required || (auth == Auth::Auto && marker.is_some()), marker.is_some()),
        true => {
            let (keys, unreadable, gate) = block_on(async {
                let keys = Keys::open(&config.data.dir).await?;
                Ok::<_, jobs::Error>((keys.list().await?, keys.unreadable().await?, keys.gate(auth).await?))
            })??;
            unreadable.iter().for_each(|key| report.warn("access", key));
            let now = SystemTime::now();
            let in_force = keys.iter().filter(|key| key.expires.is_none_or(|expires| expires > now)).count();
            (in_force, gate.is_closed(), gate.has_lost_keys())
        }
    };
    if let (true, true, Some(marker)) = (lost, auth != Auth::Off, marker) {
        report.fail("access", format_args!("{} ({})", Refused::Lost, marker.display()));
        return Ok(());
    }
    let pages = exposure::warn_of_pages(&config.server, closed);
    match exposure::check(&config.server, closed) {
        Err(error) => report.fail("access", error),
        Ok(warning) if warning.is_some() || pages.is_some() => {
            warning.into_iter().chain(pages).for_each(|warning| report.warn("access", warning));
        }
        Ok(_) if auth == Auth::Off => {
            report.ok("access", format_args!("without a key (`server.auth` is off), from this machine alone ({host})"));
        }
        Ok(_) if !closed => report.ok(
            "access",
            format_args!("without a key, from this machine alone ({host}); `graft keys create` makes the first, and closes it"),
        ),
        Ok(_) if keys == 0 => report.warn(
            "access",
            "every request needs an API key, and none is in force: nobody is let in; `graft keys create` makes one",
        ),
        Ok(_) => {
            let in_force = if keys == 1 { "is" } else { "are" };
            report.ok("access", format_args!("with a key, of which {keys} {in_force} in force, at {host}"));
        }
    }
    Ok(())
}

/// A model that must be loaded.
fn model(config: &Config, snapshot: &Snapshot, name: &str, report: &mut Report) {
    let stable = snapshot.model(name).and_then(|model| model.version(model.stable.version));
    match stable.map(|version| &version.metadata) {
        None if known_model(name).is_some() => {
            report.fail("models", format_args!("`{name}` is not in the repository; `graft pull {name}` downloads it"));
        }
        None => report.fail("models", format_args!("`{name}` is not in the repository; import it, or change `models.preload`")),
        Some(metadata) if metadata.pretrained => report.ok("models", format_args!("{name} version {}", metadata.version)),
        Some(_) if config.models.allow_untrained => {
            report.warn("models", format_args!("{name} has UNTRAINED weights; `graft pull --list` shows trained ones"));
        }
        Some(_) => report.fail("models", format_args!("{name} has UNTRAINED weights, which `models.allow_untrained` forbids")),
    }
}

/// Creates and removes a file in `folder`, or in what it would be made in, and looks at the room there.
fn writable(what: &str, folder: &Path, report: &mut Report) {
    let mut existing: PathBuf = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    while !existing.is_dir() && existing.pop() {}
    if let Err(error) = TemporaryFile::new(&existing, ".graft-") {
        let hint = "give this user write permission, or choose another folder";
        return report.fail(what, format_args!("cannot write to {} ({error}); {hint}", existing.display()));
    }
    let free = rustix::fs::statvfs(&existing).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let detail = format!("{} is writable, {:.1} GB free", folder.display(), free as f64 / 1e9);
    if free < COMFORTABLE_BYTES {
        report.warn(what, format_args!("{detail}; one VGG16 download and import takes 1.2 GB"));
    } else {
        report.ok(what, detail);
    }
}
