//! How far an image's features are from those of the images that a version was trained on: kept beside its weights, checked when it
//! is read, measured by training and by serving alike.
//!
//! Knows vectors; knows neither images nor sessions.

use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{
    Metadata, ModelVersion,
    checked::same,
    error::{At, Error},
    files::{NOVELTY, write_synced},
    metadata::{MetadataError, rule},
};
use crate::{
    graph::Layout,
    tensor::{
        Dtype, little_endian,
        npy::{read_npy, write_npy},
    },
};

/// What a version says of novelty; its references are in `novelty.npy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Novelty {
    /// The layer whose output, divided by its length, is compared.
    #[schema(example = "global_average_pooling2d")]
    pub layer: String,
    /// References: training images whose features are stored.
    #[schema(example = 243)]
    pub references: usize,
    /// Images that are farther are novel; 95 % of those that it was measured on are not.
    #[schema(example = 0.52)]
    pub threshold: f32,
    /// Which these were.
    pub measured_on: MeasuredOn,
}

/// The images that a threshold was measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeasuredOn {
    /// Validation images.
    Validation,
    /// The references, each without itself, where there was no validation image.
    Training,
}

/// Features of training images as unit vectors, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct References {
    /// Vector after vector.
    data: Vec<f32>,
    width: usize,
}

impl References {
    /// Most values of all references together: what one distance costs, and the size of the file, are bounded by it.
    pub const MAX_VALUES: usize = 1 << 20;

    /// Most references of `width` values.
    pub fn most(width: usize) -> usize {
        (Self::MAX_VALUES / width.max(1)).max(1)
    }

    /// `vectors` of the same length, not 0, each divided by its length and rounded to float16, as they are stored.
    pub fn new(vectors: &[Vec<f32>]) -> Self {
        let width = vectors.first().map_or(1, Vec::len);
        let rounded = |value: f32| half::f16::from_f32(value).to_f32();
        let data = vectors.iter().flat_map(|vector| unit(vector)).map(rounded).collect();
        Self { data, width }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.data.len() / self.width
    }

    /// Euclidean distance, 0 to 2, from `vector` divided by its length to the nearest reference: Sun et al.'s (2022) with k = 1.
    pub fn distance(&self, vector: &[f32]) -> f32 {
        self.nearest(&unit(vector), None)
    }

    /// The distance of every reference to the nearest other; 0 where there is none.
    pub fn own_distances(&self) -> Vec<f32> {
        let own = |(at, vector): (usize, &[f32])| self.nearest(vector, Some(at));
        self.data.chunks_exact(self.width).enumerate().map(own).collect()
    }

    /// The least distance from the unit vector `from`, the reference at `except` left out.
    fn nearest(&self, from: &[f32], except: Option<usize>) -> f32 {
        let references = self.data.chunks_exact(self.width).enumerate().filter(|(at, _)| Some(*at) != except);
        let squares = references.map(|(_, reference)| square_distance(from, reference));
        squares.reduce(f32::min).unwrap_or_default().sqrt()
    }

    /// Writes `novelty.npy` into the folder `dir` of a version in the making, durably.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(NOVELTY);
        let refused = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        let values = little_endian(Dtype::F16, &self.data).map_err(|error| refused(&error)).at("write", &path)?;
        let mut file = Vec::with_capacity(values.len() + 256);
        write_npy(&mut file, Dtype::F16, &[self.count(), self.width], &values).at("write", &path)?;
        write_synced(&path, &file)
    }
}

impl ModelVersion {
    /// The references of a version that has some.
    ///
    /// # Errors
    /// A file that is missing, damaged, or not what the metadata say.
    pub fn references(&self) -> Result<Option<References>, Error> {
        let path = self.dir.join(NOVELTY);
        let expected = self.sums.as_ref().and_then(|sums| sums.novelty.as_ref());
        if let Some(expected) = expected.filter(|_| self.metadata.novelty.is_some()) {
            let found = std::fs::read(&path).at("read", &path)?;
            same(NOVELTY, &hex::encode(Sha256::digest(&found)), expected).map_err(|reason| self.damaged(reason))?;
        }
        read(&self.metadata, &path).map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason)).at("read", &path)
    }
}

/// What the file `path` holds of the version of `metadata`; `None` where these say nothing of novelty. Otherwise why it cannot be
/// used.
pub(super) fn read(metadata: &Metadata, path: &Path) -> Result<Option<References>, String> {
    let Some(novelty) = &metadata.novelty else { return Ok(None) };
    let file = File::open(path).map_err(|error| format!("`{NOVELTY}` cannot be read: {error}"))?;
    let most = References::MAX_VALUES * size_of::<f32>();
    let tensor = read_npy(BufReader::new(file), most).map_err(|error| format!("`{NOVELTY}`: {error}"))?;
    let width = metadata.layer(&novelty.layer).and_then(super::Layer::values).unwrap_or_default();
    let (shape, data) = tensor.into_parts();
    if shape != [novelty.references, width] || !data.iter().all(|value| value.is_finite()) {
        return Err(format!("`{NOVELTY}` has not the {} finite vectors of {width} values of the metadata", novelty.references));
    }
    Ok(Some(References { data, width }))
}

impl Metadata {
    /// Checks what is said of novelty.
    pub(super) fn validate_novelty(&self) -> Result<(), MetadataError> {
        let Some(Novelty { layer, references, threshold, .. }) = &self.novelty else { return Ok(()) };
        let is_vector = self.layer(layer).is_some_and(|layer| layer.layout() == Layout::Vector);
        rule("novelty.layer", is_vector, || format!("is `{layer}`, which is no layer that gives a vector"))?;
        rule("novelty.references", *references > 0, || "is 0; there is at least one".into())?;
        let sound = threshold.is_finite() && *threshold >= 0.0;
        rule("novelty.threshold", sound, || format!("is {threshold}; it is a distance"))
    }
}

/// Divided by the Euclidean length; a zero vector stays zero.
fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
    vector.iter().map(|&value| (f64::from(value) * factor) as f32).collect()
}

/// Sum of squares of the differences, in lanes that compilers make vector instructions of.
fn square_distance(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a, rest_a) = a.as_chunks::<LANES>();
    let (b, rest_b) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += (a[lane] - b[lane]).powi(2);
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing;

    fn references(vectors: &[&[f32]]) -> References {
        References::new(&vectors.iter().map(|vector| vector.to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn the_distance_is_to_the_nearest() {
        let near = |found: f32, expected: f32| assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        // As long as two rows of lanes and a rest.
        let axis = |axis: usize| (0..40).map(|at| if at == axis { 3.0 } else { 0.0 }).collect::<Vec<f32>>();
        let axes = References::new(&[axis(0), axis(17), axis(39)]);
        assert_eq!(axes.count(), 3);
        [0, 17, 39].iter().for_each(|&known| near(axes.distance(&axis(known)), 0.0));
        near(axes.distance(&axis(38)), 2.0_f32.sqrt());
        axes.own_distances().iter().for_each(|&distance| near(distance, 2.0_f32.sqrt()));
        let two = references(&[&[1.0, 0.0], &[0.0, 2.0]]);
        near(two.distance(&[-10.0, 0.0]), 2.0_f32.sqrt());
        near(two.distance(&[5.0, 5.0]), (2.0 - 2.0_f32.sqrt()).sqrt());
        near(two.distance(&[0.0, 0.0]), 1.0);
        assert_eq!(references(&[&[1.0, 0.0]]).own_distances(), [0.0], "there is no other");
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let written = references(&[&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &[0.1; 8], &[-3.0; 8]]);
        written.write(folder.path()).expect("it can be written");
        let novelty = Novelty { layer: "fc2".into(), references: 3, threshold: 0.5, measured_on: MeasuredOn::Validation };
        let mut metadata = testing::metadata("m");
        metadata.version = 1;
        assert_eq!(read(&metadata, Path::new("nowhere")), Ok(None));
        metadata.novelty = Some(novelty.clone());
        assert_eq!(metadata.validate(), Ok(()));
        let path = folder.path().join(NOVELTY);
        assert_eq!(read(&metadata, &path), Ok(Some(written)));
        metadata.novelty = Some(Novelty { references: 4, ..novelty.clone() });
        let told = |metadata: &Metadata| read(metadata, &path).expect_err("it is damaged");
        assert_eq!(told(&metadata), "`novelty.npy` has not the 4 finite vectors of 8 values of the metadata");
        let bytes = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("it can be written");
        assert_eq!(told(&metadata), "`novelty.npy`: the .npy ends early or cannot be read");
        std::fs::remove_file(&path).expect("it is there");
        assert!(told(&metadata).starts_with("`novelty.npy` cannot be read: "));
        for (novelty, field) in [
            (Novelty { layer: "fc9".into(), ..novelty.clone() }, "novelty.layer"),
            (Novelty { references: 0, ..novelty.clone() }, "novelty.references"),
            (Novelty { threshold: f32::NAN, ..novelty }, "novelty.threshold"),
        ] {
            metadata.novelty = Some(novelty);
            assert_eq!(metadata.validate().map_err(|error| error.field), Err(field));
        }
    }
}
