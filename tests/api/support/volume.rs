//! `graft serve` whose `data.dir` is a small volume of its own, which a test fills, empties and makes read-only.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
};

use super::{Graft, Setup};

/// A server over a volume of 8 MB that nobody else sees.
pub struct Volume {
    /// The server.
    pub graft: Graft,
    /// The volume as the server sees it, and from outside.
    inside: PathBuf,
    data: PathBuf,
}

impl Volume {
    /// Starts the server with the model `seeded` as its default; `None`, which is said, where this user may not mount a volume.
    #[track_caller]
    pub fn serve(setup: &Setup, variables: &[(&str, &str)]) -> Option<Self> {
        // Nobody reads the log, and a full pipe would stop the server.
        let variables = [&[("GRAFT__TELEMETRY__LOG_LEVEL", "error,graft::app=info")], variables].concat();
        let Some(graft) = Graft::with_volume(&setup.config().models.dir, "seeded", &variables, "8m") else {
            eprintln!("skipped: this user may not mount a volume");
            return None;
        };
        let inside = setup.config().data.dir.clone();
        let data = format!("/proc/{}/root{}", graft.id(), inside.display()).into();
        Some(Self { graft, inside, data })
    }

    /// How many entries a folder of the volume has.
    pub fn entries(&self, folder: &str) -> usize {
        fs::read_dir(self.data.join(folder)).map_or(0, Iterator::count)
    }

    /// Writes until nothing more goes in.
    pub fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).expect("it can be made");
        for size in [1 << 20, 1 << 12, 1] {
            while filler.write_all(&vec![1; size]).is_ok() {}
        }
    }

    /// Gives the room back that [`Self::fill`] took.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.data.join("filler")
    }

    /// Makes it read-only for all that is opened from now on.
    pub fn lock(&self) {
        let copy = self.inside.with_file_name("copy");
        fs::create_dir_all(&copy).expect("it can be made");
        let (data, copy) = (self.inside.display().to_string(), copy.display().to_string());
        // Files of the volume are open for writing, so that it cannot be made read-only itself; none of its copy is.
        self.within(&["mount", "--bind", &data, &copy]);
        self.within(&["mount", "-o", "remount,bind,ro", &copy]);
        self.within(&["mount", "--move", &copy, &data]);
    }

    /// Makes it writable again.
    pub fn unlock(&self) {
        self.within(&["umount", "--lazy", &self.inside.display().to_string()]);
    }

    /// Runs a command that sees the server's mounts.
    fn within(&self, words: &[&str]) {
        let own: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--preserve-credentials"] };
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.graft.id())).args(own).arg("--mount").args(words);
        let done = command.output().expect("what mounts can also enter");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
