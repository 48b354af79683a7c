//! The `graft` command; everything is in the library.

fn main() -> std::process::ExitCode {
    graft::cli::main()
}
