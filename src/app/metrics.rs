//! What each metric is, for `# HELP` in `/metrics`.
//!
//! The only list of all of them; who records them knows no other.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram};

const COUNTERS: &[(&str, &str)] = &[
    ("graft_requests_total", "Requests that were answered, by route, method and status."),
    ("graft_refusals_total", "Answers that are problems, by their code."),
    (
        "graft_connections_refused_total",
        "Connections that were closed because too many were open, or too many TLS handshakes under way.",
    ),
    ("graft_images_total", "Images, by model and by what became of them."),
    ("graft_jobs_total", "Runs of jobs that ended, by how."),
];

const GAUGES: &[(&str, &str)] = &[
    ("graft_requests_in_flight", "Requests that are being answered."),
    ("graft_connections_open", "Connections that are open."),
    ("graft_queue_images", "Images that wait in front of a model."),
    ("graft_work_running", "Pieces of work that run, by lane."),
    ("graft_work_waiting", "Pieces of work that wait, by lane."),
    ("graft_jobs", "Jobs that are kept, by state."),
    ("graft_tls_certificate_end_timestamp_seconds", "When the certificate's time is over, in seconds since 1970."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    ("graft_request_duration_seconds", "Time from a request's header to its answer's, by route."),
    ("graft_batch_images", "Images in one run of a model."),
    ("graft_inference_seconds", "Time of one run of a model."),
    ("graft_queue_seconds", "Time that an image waited in front of a model."),
];

/// Describes every metric.
pub fn describe() {
    for (name, text) in COUNTERS {
        describe_counter!(*name, *text);
    }
    // Of the others the labels are known when something happens.
    counter!("graft_connections_refused_total").increment(0);
    for (name, text) in GAUGES {
        describe_gauge!(*name, *text);
    }
    for (name, text) in HISTOGRAMS {
        describe_histogram!(*name, *text);
    }
}
