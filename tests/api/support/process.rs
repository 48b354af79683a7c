//! The `graft` binary as a child process, for what only a whole process shows: exit codes, its log, its files.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use serde_json::Value;

/// `graft serve` on a free port; killed when dropped.
pub struct Graft {
    /// Where it listens, as its log says.
    pub address: SocketAddr,
    process: Running,
    /// Held open: a closed pipe would end the log.
    _log: BufReader<ChildStderr>,
}

/// A child that does not outlive its test, whatever becomes of it.
struct Running(Child);

impl Graft {
    /// Runs `graft` with nothing in its environment but `variables`, and waits for its end.
    pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        command(arguments, variables).output().expect("the binary runs")
    }

    /// Starts `graft serve` over the repository `models`, and waits until it says where it listens.
    pub fn serve(models: &Path, default_model: &str, variables: &[(&str, &str)]) -> Self {
        let models = models.display().to_string();
        let arguments = ["serve", "--port", "0", "--models-dir", &models, "--default-model", default_model];
        let mut command = command(&arguments, variables);
        command.args(["--set", "telemetry.log_format=json"]).stderr(Stdio::piped());
        let mut process = Running(command.spawn().expect("the binary runs"));
        let mut log = BufReader::new(process.0.stderr.take().expect("it is piped"));
        let mut seen = String::new();
        while log.read_line(&mut seen).expect("the log is UTF-8") > 0 {
            let line = serde_json::from_str::<Value>(seen.lines().last().unwrap_or_default()).unwrap_or_default();
            if line["message"] == "serving" {
                let address = line["address"].as_str().expect("it names its address").parse().expect("it is one");
                return Self { address, process, _log: log };
            }
        }
        log.read_to_string(&mut seen).ok();
        panic!("it ended before it served: {seen}");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graft"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}
