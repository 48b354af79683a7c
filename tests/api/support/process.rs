//! The `graft` binary as a child process, for what only a whole process shows: exit codes, its log, its files.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use reqwest::{Body, Client};
use serde_json::Value;

use super::{Answer, eventually};

/// `graft serve` on a free port; killed when dropped.
pub struct Graft {
    /// Where it listens, as its log says.
    pub address: SocketAddr,
    client: Client,
    process: Running,
    /// Held open: a closed pipe would end the log.
    log: BufReader<ChildStderr>,
}

/// `graft` in a process that may open so many files.
fn limited(files: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$1\" && shift && exec \"$@\"", "sh"]).arg(files.to_string());
    command.arg(env!("CARGO_BIN_EXE_graft"));
    command
}

/// A child that does not outlive its test, whatever becomes of it.
struct Running(Child);

/// How a process ended that was to serve and did not.
#[derive(Debug)]
pub struct Refusal {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub log: String,
}

impl Graft {
    /// Starts `graft serve` over the repository `models`, and waits until its log says where it listens.
    #[track_caller]
    pub fn serve(models: &Path, default_model: &str, variables: &[(&str, &str)]) -> Self {
        Self::start(models, default_model, variables).unwrap_or_else(|refusal| panic!("it does not serve: {}", refusal.log))
    }

    /// Starts the same where it must refuse, and waits for its end.
    #[track_caller]
    pub fn refusal(models: &Path, default_model: &str, variables: &[(&str, &str)]) -> Refusal {
        Self::start(models, default_model, variables).err().expect("it refuses, but it serves")
    }

    /// The same, with a volume of its own of `size` for `data.dir`, as mount takes it, that nobody else sees; `None` where this
    /// user may not mount.
    #[track_caller]
    pub fn with_volume(models: &Path, default_model: &str, variables: &[(&str, &str)], size: &str) -> Option<Self> {
        // For root, and for others where the kernel lets them.
        let flags = ["--mount", "--mount --map-root-user"].into_iter().find(|flags| {
            let tried = Command::new("unshare").args(flags.split(' ')).args(["mount", "-t", "tmpfs", "none", "/mnt"]).status();
            tried.is_ok_and(|status| status.success())
        })?;
        let data = models.with_file_name("data");
        std::fs::create_dir_all(&data).expect("it can be made");
        let mut command = Command::new("unshare");
        command.args(flags.split(' ')).args([
            "sh",
            "-c",
            "mount -t tmpfs -o size=\"$1\" none \"$2\" && shift 2 && exec \"$@\"",
            "sh",
            size,
        ]);
        command.arg(data).arg(env!("CARGO_BIN_EXE_graft"));
        let started = Self::begin(command, models, default_model, variables);
        Some(started.unwrap_or_else(|refusal| panic!("it does not serve: {}", refusal.log)))
    }

    /// The same, in a process that may open so many files.
    #[track_caller]
    pub fn with_files(models: &Path, default_model: &str, files: u32) -> Self {
        let started = Self::begin(limited(files), models, default_model, &[]);
        started.unwrap_or_else(|refusal| panic!("it does not serve: {}", refusal.log))
    }

    /// As [`Self::refusal`], in a process that may open so many files.
    #[track_caller]
    pub fn refusal_with_files(models: &Path, default_model: &str, files: u32) -> Refusal {
        Self::begin(limited(files), models, default_model, &[]).err().expect("it refuses, but it serves")
    }

    /// As [`Self::serve`], of another file with the same program.
    #[track_caller]
    pub fn of_program(program: &Path, models: &Path, default_model: &str, variables: &[(&str, &str)]) -> Self {
        let started = Self::begin(Command::new(program), models, default_model, variables);
        started.unwrap_or_else(|refusal| panic!("it does not serve: {}", refusal.log))
    }

    fn start(models: &Path, default_model: &str, variables: &[(&str, &str)]) -> Result<Self, Refusal> {
        Self::begin(Command::new(env!("CARGO_BIN_EXE_graft")), models, default_model, variables)
    }

    /// Nothing is in its environment but `variables` and `PATH`.
    fn begin(mut command: Command, models: &Path, default_model: &str, variables: &[(&str, &str)]) -> Result<Self, Refusal> {
        command.args(["serve", "--port", "0", "--set", "telemetry.log_format=json", "--default-model", default_model]);
        command.arg("--set").arg(format!("data.dir={}", models.with_file_name("data").display()));
        command.arg("--models-dir").arg(models).env_clear().envs(variables.iter().copied());
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = Running(command.spawn().expect("the binary runs"));
        let mut reader = BufReader::new(process.0.stderr.take().expect("it is piped"));
        let mut log = String::new();
        while reader.read_line(&mut log).expect("the log is UTF-8") > 0 {
            let line = serde_json::from_str::<Value>(log.lines().last().unwrap_or_default()).unwrap_or_default();
            if line["message"] == "serving" {
                let address = line["address"].as_str().expect("it names its address").parse().expect("it is one");
                let client = Client::builder().no_proxy().build().expect("a client without TLS can be built");
                return Ok(Self { address, client, process, log: reader });
            }
        }
        let code = process.0.wait().expect("it was started").code();
        Err(Refusal { code, log })
    }

    /// Ends it as SIGKILL does.
    pub fn kill(&mut self) {
        self.process.0.kill().expect("it runs");
        self.process.0.wait().expect("it was started");
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.0.try_wait().expect("it was started").is_some()
    }

    /// The next line of its log, which is JSON.
    #[track_caller]
    pub fn log_line(&mut self) -> Value {
        let mut line = String::new();
        self.log.read_line(&mut line).expect("the log is UTF-8");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Ends it and gives what it has logged since it said where it listens.
    pub fn ended_log(mut self) -> String {
        self.kill();
        let mut log = String::new();
        self.log.read_to_string(&mut log).expect("the log is UTF-8");
        log
    }

    /// Posts `body` as the media type `kind`.
    pub async fn post(&self, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        Answer::to(self.client.post(self.url(path)).header("Content-Type", kind).body(body)).await
    }

    /// Deletes what is at `path`.
    pub async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.client.delete(self.url(path))).await
    }

    /// The JSON at `path`, which must be there.
    pub async fn get(&self, path: &str) -> Value {
        Answer::to(self.client.get(self.url(path))).await.ok().json()
    }

    /// The event stream of a job that has ended.
    pub async fn events(&self, job: &str) -> String {
        Answer::to(self.client.get(self.url(&format!("{job}/events")))).await.ok().text()
    }

    /// The job at the path `job` once it has ended.
    pub async fn ended(&self, job: &str) -> Value {
        let running = async || matches!(self.get(job).await["state"].as_str(), Some("queued" | "running"));
        eventually("the job has ended", async || !running().await).await;
        self.get(job).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }
}

/// A command that ran to its end.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it answered.
    pub stdout: String,
    /// All else that it said.
    pub stderr: String,
}

impl Ran {
    /// Runs `graft` with `arguments` over the repository `models`, with nothing in its environment.
    pub fn graft(models: &Path, arguments: &[&str]) -> Self {
        Self::of(Self::command(models, arguments).output())
    }

    /// The same, while it runs; nothing of what it says is read.
    pub fn started(models: &Path, arguments: &[&str]) -> Child {
        let mut command = Self::command(models, arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
    }

    /// The same, where the reader of its answer leaves at once.
    pub fn graft_unread(models: &Path, arguments: &[&str]) -> Self {
        let mut command = Self::command(models, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        drop(child.stdout.take());
        Self::of(child.wait_with_output())
    }

    fn command(models: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_graft"));
        command.args(arguments).arg("--models-dir").arg(models).env_clear().stdin(Stdio::null());
        command.arg("--set").arg(format!("data.dir={}", models.with_file_name("data").display()));
        command
    }

    fn of(output: io::Result<Output>) -> Self {
        let output = output.expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What it answered, if it did what it was to do.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        &self.stdout
    }
}

impl Refusal {
    /// The one line that is for people: all others are the log's.
    #[track_caller]
    pub fn line(&self) -> &str {
        let lines: Vec<&str> = self.log.lines().filter(|line| !line.starts_with('{')).collect();
        let [line] = lines[..] else { panic!("not one line: {}", self.log) };
        line
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
