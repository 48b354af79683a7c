//! Weight tensors from files, seeds and the network.
