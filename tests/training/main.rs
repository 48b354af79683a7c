//! Training graphs, run: gradients against PyTorch and finite differences, optimizers against Keras's definitions.
//!
//! Skips nothing: the fixtures are in the tree, the runtime is the one that `make library` brings.

mod case;
mod frontier;
mod gradients;
mod graphs;
mod optimizers;
