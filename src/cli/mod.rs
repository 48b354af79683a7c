//! The command line: one file per command, on the same engine as the server.
//!
//! Long work shows a progress bar on a terminal and plain lines elsewhere; answers go to stdout, all else to stderr.

mod answer;
mod batch;
mod context;
mod doctor;
mod evaluate;
mod examine;
mod expiry;
mod features;
mod files;
mod finetune;
mod import;
mod init;
mod keys;
mod layers;
mod models;
mod openapi;
mod predict;
mod progress;
mod pull;
mod read_as;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// Image classification and feature extraction over HTTP.
///
/// Serves EfficientNet-Lite0, VGG16, InceptionV3 and your own ONNX classifiers: top-k classes of a photo, or the output of any
/// layer by its Keras name. Get weights with `graft pull` or `graft import`, then `graft serve`.
#[derive(Debug, Parser)]
#[command(name = "graft", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Global {
    /// The model repository [default: models below data.dir; GRAFT__MODELS__DIR]
    #[arg(long, global = true, value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// Folder of default.toml and ENVIRONMENT.toml [default: config, when it exists]
    #[arg(long, global = true, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Any setting, such as `--set runtime.threads=4`; see config/default.toml for all of them
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the models over HTTP
    Serve(serve::Serve),
    /// Download trained weights of a known model and import them
    Pull(pull::Pull),
    /// Import a weight file (Keras, PyTorch) or an ONNX classifier
    Import(import::Import),
    /// Make a model with untrained, seeded weights (Keras's `weights=None`)
    Init(init::Init),
    /// List the models of the repository; `*` answers requests without a version, `!` does because somebody chose it
    Models(models::Models),
    /// List a model's layers: index, name, output shape
    Layers(layers::Layers),
    /// Classify images, or folders of images
    Predict(predict::Predict),
    /// Write layer outputs of images or folders to .npy or .npz
    Features(features::Features),
    /// Teach a model new classes from a folder of photos: the new head alone, then with the top blocks, unless a recipe says otherwise
    Finetune(finetune::Finetune),
    /// Report how good a model is on a folder of labelled photos
    Evaluate(evaluate::Evaluate),
    /// Make, list, change and revoke API keys: who may use the servers on this data folder
    Keys(keys::Keys),
    /// Check library, provider, models, folders and disk, and say what to do
    Doctor(doctor::Doctor),
    #[command(hide = true)]
    Examine(examine::Examine),
    /// Print the OpenAPI document
    Openapi(openapi::Openapi),
}

/// Parses the process's arguments, runs the command, and reports its error with every cause.
pub fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    match run(&global, command) {
        Ok(code) => code,
        Err(error) if error.downcast_ref::<answer::Unwritten>().is_some_and(answer::Unwritten::is_closed) => ExitCode::SUCCESS,
        Err(error) => {
            answer::failure(format_args!("graft: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(global: &Global, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(command) => command.run(global)?,
        Command::Pull(command) => command.run(global)?,
        Command::Import(command) => command.run(global)?,
        Command::Init(command) => command.run(global)?,
        Command::Models(command) => command.run(global)?,
        Command::Layers(command) => command.run(global)?,
        Command::Predict(command) => return command.run(global),
        Command::Features(command) => return command.run(global),
        Command::Doctor(command) => return command.run(global),
        Command::Finetune(command) => command.run(global)?,
        Command::Evaluate(command) => command.run(global)?,
        Command::Keys(command) => command.run(global)?,
        Command::Examine(command) => return command.run(global),
        Command::Openapi(command) => command.run()?,
    }
    Ok(ExitCode::SUCCESS)
}
