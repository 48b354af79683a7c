//! What the process takes of its machine, as Prometheus's client libraries report it; read from `/proc` when asked.
//!
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>

use std::{fmt::Write as _, fs};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// The metrics in Prometheus's text format; one that cannot be read is left out.
pub fn text() -> String {
    let fields = stat();
    // Numbered from 1, the state being the third, as proc_pid_stat(5) has them.
    let field = |number: usize| fields.get(number - 3).copied();
    let seconds = |ticks: f64| ticks / clock_ticks_per_second() as f64;
    let files = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64);
    let limit = getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |limit| limit as f64);
    let started = field(22).and_then(|ticks| Some(booted()? + seconds(ticks)));
    let mut text = String::new();
    for (name, kind, help, value) in [
        ("resident_memory_bytes", "gauge", "Resident memory in bytes.", field(24).map(|pages| pages * page_size() as f64)),
        ("virtual_memory_bytes", "gauge", "Virtual memory in bytes.", field(23)),
        ("open_fds", "gauge", "Open file descriptors.", files),
        ("max_fds", "gauge", "File descriptors that may be open.", Some(limit)),
        ("threads", "gauge", "Threads of the operating system.", field(20)),
        (
            "cpu_seconds_total",
            "counter",
            "User and system processor time in seconds.",
            field(14).zip(field(15)).map(|(user, system)| seconds(user + system)),
        ),
        ("start_time_seconds", "gauge", "Start of the process since the Unix epoch in seconds.", started),
    ] {
        let Some(value) = value else { continue };
        let value = if value.is_infinite() { "+Inf".to_owned() } else { value.to_string() };
        writeln!(text, "# HELP process_{name} {help}\n# TYPE process_{name} {kind}\nprocess_{name} {value}")
            .expect("a string grows");
    }
    text
}

/// The numbers of `/proc/self/stat` behind the process's name, which may hold anything; what is no number counts as 0.
fn stat() -> Vec<f64> {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = text.rsplit_once(") ").map_or("", |(_, behind)| behind);
    behind.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect()
}

/// When the machine booted, in seconds since the Unix epoch.
fn booted() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn this_process_is_measured() {
        let _held = vec![1u8; 1 << 20];
        let text = text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("process_{name} ")));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().expect("a number")
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that runs").as_secs_f64();
        assert!(
            (1e6..1e12).contains(&value("resident_memory_bytes"))
                && value("virtual_memory_bytes") > value("resident_memory_bytes")
        );
        assert!(value("open_fds") >= 1.0 && value("max_fds") >= value("open_fds") && value("threads") >= 1.0, "{text}");
        assert!(
            value("cpu_seconds_total") >= 0.0 && (now - 86_400.0..now + 5.0).contains(&value("start_time_seconds")),
            "{text}"
        );
    }
}
