//! What a cache holds: everything that its numbers depend on, and how they lie in its files.
//!
//! Two caches with one key hold the same numbers; touches no file.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    preprocess::Preprocessing,
    training::{
        Samples,
        batches::Pick,
        recipe::{Frontier, Phase, Recipe},
    },
};

/// Changes whenever files or numbers would be made differently.
const FORMAT: u32 = 2;

/// What a cache holds; caches of equal content are the same cache.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Content {
    pub(super) format: u32,
    /// The data set's.
    pub(super) fingerprint: String,
    /// Images of the data set.
    pub(super) images: usize,
    pub(super) weights_sha256: String,
    pub(super) graph_sha256: String,
    pub(super) preprocessing: Preprocessing,
    pub(super) frontier: Vec<Frontier>,
    /// Tensors that the same pass gives to other phases: they may keep the library from fusing operators, and of a base with
    /// other numbers than float32 they decide where these end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) beside: Vec<String>,
    /// Whether mirrored images have records too, behind all others: with and without them it is the same cache.
    #[serde(skip)]
    pub(super) flips: bool,
    /// The library and the provider: others give other last bits.
    pub(super) engine: String,
}

impl Content {
    /// What `phase` of `recipe` reads, for the images of `samples`, computed by `engine` (library and provider in words).
    pub fn of(recipe: &Recipe, phase: &Phase, samples: &Samples, engine: String) -> Self {
        let beside = recipe.frontiers().filter(|other| other.frontier != phase.frontier).flat_map(|other| &other.frontier);
        Self {
            format: FORMAT,
            fingerprint: recipe.fingerprint.clone(),
            images: samples.images.len(),
            weights_sha256: recipe.base.weights_sha256.clone(),
            graph_sha256: recipe.base.graph_sha256.clone(),
            preprocessing: recipe.preprocessing.clone(),
            frontier: phase.frontier.clone(),
            beside: beside
                .map(|Frontier { tensor, pooled, .. }| tensor.clone() + if *pooled { ", pooled" } else { "" })
                .collect(),
            flips: recipe.horizontal_flip,
            engine,
        }
    }

    /// Hexadecimal, the name of the cache's folder.
    pub fn key(&self) -> String {
        hex::encode(Sha256::digest(self.to_json()))
    }

    /// The content as JSON, for people who look into the folder.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has string keys only")
    }

    /// Tensors of a record.
    pub fn frontier(&self) -> &[Frontier] {
        &self.frontier
    }

    /// Values of each tensor of a record.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.frontier.iter().map(|tensor| tensor.shape.iter().product()).collect()
    }

    /// Bytes of one record, all tensors together.
    pub fn record_bytes(&self) -> u64 {
        self.frontier.iter().map(|tensor| tensor.bytes).sum()
    }

    /// Records of the whole data set.
    pub fn records(&self) -> usize {
        self.images * (1 + usize::from(self.flips))
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> u64 {
        self.record_bytes().saturating_mul(self.records() as u64)
    }

    /// Where the record of `pick` lies.
    pub(super) fn record(&self, pick: Pick) -> usize {
        pick.image as usize + if pick.flipped && self.flips { self.images } else { 0 }
    }
}
