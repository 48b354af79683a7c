//! `graft features`: layer outputs of many images into one `.npy` or `.npz`, or of a few into a plot.
//!
//! Memory does not grow with the number of images: rows are spooled to a file per layer, then put together.

use std::{
    fs::File,
    io::{BufWriter, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{
    Global, answer, batch,
    context::{block_on, engine, open},
    files,
    predict::ImageOptions,
    progress::{Progress, Unit},
};
use crate::{
    inference::{Features as Wanted, ImageAnswer, LayerSpec, ModelId, Normalize, OnError, Pool, Request},
    message::word,
    plot::{self, MAX_SERIES, Picture, Plot, Series},
    registry::TemporaryFile,
    tensor::{Dtype, little_endian, npy, npz::NpzWriter},
};

/// Write layer outputs of images or folders to .npy or .npz.
///
/// `graft features photos -o photos.npz --layer fc2` holds one array per layer, shape (images, …), and `images`, their paths.
/// An .npy holds one layer; the paths of its rows go to FILE.names.txt beside it, one a line. An .svg or .png shows one layer of up to 10 images as lines. Files that are not images are listed and left out.
#[derive(Debug, Args)]
pub(super) struct Features {
    /// Image files, or folders that are searched for images
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Where to write: FILE.npy or FILE.npz, or a plot: FILE.svg or FILE.png
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Layers by name or Keras index, -1 being the last, repeated or comma-separated [default: the model's features layer]
    #[arg(long, short, value_delimiter = ',', allow_hyphen_values = true)]
    layer: Vec<String>,
    /// Pooling over height and width: none, avg or max
    #[arg(long, value_parser = word::<Pool>, default_value = "none")]
    pool: Pool,
    /// Make each output one vector
    #[arg(long)]
    flatten: bool,
    /// none, or l2: divide each output by its Euclidean length
    #[arg(long, value_parser = word::<Normalize>, default_value = "none")]
    normalize: Normalize,
    /// float32 or float16
    #[arg(long, value_parser = word::<Dtype>, default_value = "float32")]
    dtype: Dtype,
    #[command(flatten)]
    options: ImageOptions,
}

impl Features {
    /// Fails when any image was left out, after writing the others.
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let config = global.config(&[])?;
        let format = Format::of(&self.output)?;
        let files = files::images(&self.paths)?;
        let engine = engine(&config, open(&config)?)?;
        let plan = engine.plan(&self.request()?)?;
        if format != Format::Npz && plan.layers.len() != 1 {
            bail!("an .npz holds several layers, any other format one; {} are asked for", plan.layers.len());
        }
        plan.notes.iter().for_each(|note| answer::note(format_args!("{note}")));
        if matches!(format, Format::Plot(_)) && (files.len() > MAX_SERIES || self.dtype == Dtype::F16) {
            bail!("a plot shows at most {MAX_SERIES} images, in float32; write an .npy or .npz of these {}", files.len());
        }
        let mut spool = Spool::new(&plan.layers, self.dtype)?;
        let progress = Progress::new("features", Unit::Items);
        let push = |file: &Path, image: ImageAnswer| spool.push(file, &image.features);
        let bad = block_on(batch::each(&engine, &plan, &files, Some(progress), push))??;
        spool.write(&self.output, format, &plan.model())?;
        answer::line(format_args!("{}: {} images, {} left out", self.output.display(), spool.names.len(), bad))?;
        Ok(batch::exit_code(bad))
    }

    fn request(&self) -> anyhow::Result<Request> {
        let Self { pool, flatten, normalize, .. } = *self;
        let features = Wanted { layers: self.layer.clone(), pool, flatten, normalize };
        Ok(Request { features: Some(features), on_error: OnError::Skip, ..self.options.request()? })
    }
}

/// The file format, from the output's ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Npy,
    Npz,
    Plot(Picture),
}

impl Format {
    fn of(path: &Path) -> anyhow::Result<Self> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("npy") => Ok(Self::Npy),
            Some("npz") => Ok(Self::Npz),
            Some("svg") => Ok(Self::Plot(Picture::Svg)),
            Some("png") => Ok(Self::Plot(Picture::Png)),
            _ => bail!("`{}` ends in none of .npy, .npz, .svg and .png", path.display()),
        }
    }
}

/// Rows of every layer on disk, until their number is known.
struct Spool {
    layers: Vec<(LayerSpec, BufWriter<File>)>,
    names: Vec<String>,
    dtype: Dtype,
}

impl Spool {
    fn new(layers: &[LayerSpec], dtype: Dtype) -> anyhow::Result<Self> {
        let file = || {
            let file = TemporaryFile::new(&std::env::temp_dir(), ".graft-").and_then(TemporaryFile::into_unnamed);
            file.context("cannot make a temporary file")
        };
        let layers = layers.iter().map(|spec| Ok((spec.clone(), BufWriter::new(file()?)))).collect::<anyhow::Result<_>>()?;
        Ok(Self { layers, names: Vec::new(), dtype })
    }

    fn push(&mut self, path: &Path, features: &[crate::tensor::Tensor]) -> anyhow::Result<()> {
        for ((spec, file), tensor) in self.layers.iter_mut().zip(features) {
            let bytes = little_endian(self.dtype, tensor.data())
                .with_context(|| format!("layer `{}` of {}", spec.layer.name, path.display()))?;
            file.write_all(&bytes).context("cannot write a temporary file; is the disk full?")?;
        }
        self.names.push(path.display().to_string());
        Ok(())
    }

    /// Writes beside `output`, then renames: a half-written file never bears its name.
    fn write(&mut self, output: &Path, format: Format, model: &ModelId) -> anyhow::Result<()> {
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = || format!("cannot write {}", output.display());
        let mut part = TemporaryFile::new(folder, ".graft-").with_context(failed)?;
        match format {
            Format::Npz => self.write_npz(part.file()).with_context(failed)?,
            Format::Plot(picture) => {
                part.file().write_all(&self.plot(picture, model).with_context(failed)?).with_context(failed)?
            }
            Format::Npy => {
                self.write_npy(part.file()).with_context(failed)?;
                self.write_names(output)?;
            }
        }
        part.persist(output).with_context(failed)?;
        Ok(())
    }

    /// Writes the paths of an .npy's rows beside it, and says where.
    fn write_names(&self, output: &Path) -> anyhow::Result<()> {
        let beside = output.with_extension("names.txt");
        // A line's end in a name would move all names after it to other rows.
        let names = self.names.iter().map(|name| name.replace(char::is_control, "?") + "\n");
        std::fs::write(&beside, names.collect::<String>()).with_context(|| format!("cannot write {}", beside.display()))?;
        answer::note(format_args!("the paths of its rows: {}", beside.display()));
        Ok(())
    }

    fn plot(&mut self, picture: Picture, model: &ModelId) -> anyhow::Result<Vec<u8>> {
        let (spec, rows) = &mut self.layers[0];
        rows.flush()?;
        rows.get_mut().rewind()?;
        let mut bytes = Vec::new();
        rows.get_mut().read_to_end(&mut bytes)?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        let lines = values.chunks_exact(spec.shape.iter().product());
        let series = self.names.iter().zip(lines).map(|(name, values)| Series { name, values }).collect();
        let title = plot::title(&format!("{}@{}", model.name, model.version), model.pretrained, &spec.layer.name, &spec.shape);
        Ok(Plot { title, series }.draw(picture)?)
    }

    fn write_npy(&mut self, out: &mut File) -> std::io::Result<()> {
        let (spec, rows) = &mut self.layers[0];
        rows.flush()?;
        rows.get_mut().rewind()?;
        let shape: Vec<usize> = std::iter::once(self.names.len()).chain(spec.shape.iter().copied()).collect();
        out.write_all(&npy::header(self.dtype, &shape))?;
        std::io::copy(rows.get_mut(), out)?;
        Ok(())
    }

    fn write_npz(&mut self, out: &mut File) -> std::io::Result<()> {
        let mut npz = NpzWriter::new(BufWriter::new(out));
        for (spec, rows) in &mut self.layers {
            rows.flush()?;
            rows.get_mut().rewind()?;
            let shape: Vec<usize> = std::iter::once(self.names.len()).chain(spec.shape.iter().copied()).collect();
            npz.add_from(&spec.layer.name, self.dtype, &shape, rows.get_mut())?;
        }
        npz.add_strings("images", &self.names)?;
        npz.finish()?.flush()
    }
}
