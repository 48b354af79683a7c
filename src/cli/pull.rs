//! `graft pull`: Keras's published weights, downloaded and imported.
