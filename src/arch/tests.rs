//! The architectures against the layers that Keras lists.

use super::by_name;

#[test]
fn parameter_counts_are_those_of_keras() {
    let check = |name, include_top, layers, params| {
        let arch = by_name(name, include_top).expect("a known name");
        assert_eq!((arch.layers.len(), arch.params()), (layers, params), "{name} {include_top}");
    };
    check("vgg16", true, 23, 138_357_544);
    check("vgg16", false, 19, 14_714_688);
    check("inception_v3", true, 313, 23_851_784);
    check("inception_v3", false, 311, 21_802_784);
}
