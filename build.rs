//! Compiles the C file that drives libjpeg-turbo, against the headers that `turbojpeg-sys` built.

use std::env;

const SOURCE: &str = "src/preprocess/decode/jpeg/libjpeg.c";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    let includes = env::var("DEP_TURBOJPEG_INCLUDE").expect("turbojpeg-sys says where its headers are");
    cc::Build::new().file(SOURCE).includes(includes.split(',')).warnings(true).extra_warnings(true).compile("graft_jpeg");
}
