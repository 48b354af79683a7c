//! Pillow's nearest neighbour.
