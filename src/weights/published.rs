//! The weight files that Keras publishes, as its own `applications` modules name them.
//!
//! Facts alone: bringing them is `download`'s part.

/// Where Keras keeps them.
pub const BASE_URL: &str = "https://storage.googleapis.com/tensorflow/keras-applications";

/// A published file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// `vgg16`, `inception_v3`.
    pub architecture: &'static str,
    /// Whether the classifier is in it.
    pub include_top: bool,
    /// Path below the base address.
    pub path: &'static str,
    /// MD5 of the file, hexadecimal (`file_hash` in Keras's source).
    pub md5: &'static str,
}

const PUBLISHED: [Published; 4] = [
    Published {
        architecture: "vgg16",
        include_top: true,
        path: "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        md5: "64373286793e3c8b2b4e3219cbf3544b",
    },
    Published {
        architecture: "vgg16",
        include_top: false,
        path: "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5: "6d6bbae143d832006294945121d1f1fc",
    },
    Published {
        architecture: "inception_v3",
        include_top: true,
        path: "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        md5: "9a0d58056eeedaa3f26cb7ebd46da564",
    },
    Published {
        architecture: "inception_v3",
        include_top: false,
        path: "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5: "bcbd6486424b2319ff4ef7d526e38f63",
    },
];

/// The published file of an architecture, if there is one.
pub fn published(architecture: &str, include_top: bool) -> Option<Published> {
    PUBLISHED.into_iter().find(|file| file.architecture == architecture && file.include_top == include_top)
}

impl Published {
    /// Its address below `base`, which may end in a slash.
    pub fn url(&self, base: &str) -> String {
        format!("{}/{}", base.trim_end_matches('/'), self.path)
    }
}
