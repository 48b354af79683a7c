//! `graft serve` whose `data.dir` is a small volume of its own, which a test fills and empties.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

use super::{Graft, Setup};

/// A server over a volume of 8 MB that nobody else sees.
pub struct Volume {
    /// The server.
    pub graft: Graft,
    /// The volume, from outside.
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
        Some(Self { graft, data })
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
}
