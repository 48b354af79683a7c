//! Compiles graft's C file, as graft's own build script does.

use std::env;

const SOURCE: &str = "../src/preprocess/decode/jpeg/libjpeg.c";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    let includes = env::var("DEP_TURBOJPEG_INCLUDE").expect("turbojpeg-sys says where its headers are");
    cc::Build::new().file(SOURCE).includes(includes.split(',')).compile("graft_jpeg");
}
