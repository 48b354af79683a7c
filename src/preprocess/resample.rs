//! Pillow's antialiased bilinear and bicubic filters.
