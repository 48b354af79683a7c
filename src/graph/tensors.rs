//! Stored tensors: how many bytes their shape and type need, whether their data fit, and their data as raw bytes.

use bytes::Bytes;

use super::{
    Error, TensorProblem,
    proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto},
};

/// ONNX's `TensorProto.DataType`, as far as graft names its values.
pub(super) mod data_type {
    pub const FLOAT: i32 = 1;
    pub const UINT8: i32 = 2;
    pub const INT8: i32 = 3;
    pub const UINT16: i32 = 4;
    pub const INT16: i32 = 5;
    pub const INT32: i32 = 6;
    pub const INT64: i32 = 7;
    pub const FLOAT16: i32 = 10;
    pub const DOUBLE: i32 = 11;
    pub const BFLOAT16: i32 = 16;
}

/// `data_location` of a tensor whose data lie in another file.
pub(super) const EXTERNAL: i32 = 1;

/// Calls `see` with every tensor of the graph: initializers, attributes, subgraphs.
pub(super) fn visit(graph: &mut GraphProto, see: &mut impl FnMut(&mut TensorProto) -> Result<(), Error>) -> Result<(), Error> {
    graph.initializer.iter_mut().try_for_each(&mut *see)?;
    graph.sparse_initializer.iter_mut().try_for_each(|sparse| visit_sparse(sparse, see))?;
    graph.node.iter_mut().try_for_each(|node| visit_node(node, see))
}

/// Calls `see` with every tensor in the attributes of `node`, subgraphs included.
pub(super) fn visit_node(node: &mut NodeProto, see: &mut impl FnMut(&mut TensorProto) -> Result<(), Error>) -> Result<(), Error> {
    node.attribute.iter_mut().try_for_each(|attribute| visit_attribute(attribute, see))
}

fn visit_attribute(
    attribute: &mut AttributeProto,
    see: &mut impl FnMut(&mut TensorProto) -> Result<(), Error>,
) -> Result<(), Error> {
    let AttributeProto { t, tensors, sparse_tensor, sparse_tensors, g, graphs, .. } = attribute;
    t.iter_mut().chain(tensors).try_for_each(&mut *see)?;
    sparse_tensor.iter_mut().chain(sparse_tensors).try_for_each(|sparse| visit_sparse(sparse, see))?;
    g.iter_mut().chain(graphs).try_for_each(|graph| visit(graph, see))
}

fn visit_sparse(
    sparse: &mut SparseTensorProto,
    see: &mut impl FnMut(&mut TensorProto) -> Result<(), Error>,
) -> Result<(), Error> {
    sparse.values.iter_mut().chain(&mut sparse.indices).try_for_each(see)
}

/// Number of elements that the dimensions of `tensor` say.
pub(super) fn elements(tensor: &TensorProto) -> Result<u64, Error> {
    let product = tensor.dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(u64::try_from(dim).ok()?));
    // A zero hides an overflow in what follows it, but then there is no data either.
    product
        .filter(|&elements| isize::try_from(elements).is_ok())
        .ok_or_else(|| Error::tensor(tensor, TensorProblem::Dims(tensor.dims.clone())))
}

/// Bytes that the data of `tensor` take, or `None` for strings and types that graft does not know.
pub(super) fn byte_len(tensor: &TensorProto) -> Result<Option<u64>, Error> {
    let elements = elements(tensor)?;
    let Some(bits) = bits(tensor.data_type()) else { return Ok(None) };
    let overflow = || Error::tensor(tensor, TensorProblem::Dims(tensor.dims.clone()));
    let bytes = elements.checked_mul(bits).ok_or_else(overflow)?.div_ceil(8);
    isize::try_from(bytes).map_err(|_| overflow())?;
    Ok(Some(bytes))
}

/// Checks that the data of `tensor` are as long as its shape and type say.
pub(super) fn check(tensor: &mut TensorProto) -> Result<(), Error> {
    if tensor.data_type() <= 0 {
        return Err(Error::tensor(tensor, TensorProblem::Type(tensor.data_type())));
    }
    let expected = byte_len(tensor)?;
    let (expected, found, unit) = if tensor.data_location() == EXTERNAL {
        let Some(expected) = expected else {
            return Err(Error::tensor(tensor, TensorProblem::NotExternal(tensor.data_type())));
        };
        (expected, external_number(tensor, "length")?.unwrap_or(expected), "bytes")
    } else if let Some(raw) = &tensor.raw_data {
        let found = raw.len() as u64;
        (expected.unwrap_or(found), found, "bytes")
    } else {
        let Some((expected, found)) = typed_len(tensor)? else { return Ok(()) };
        (expected, found, "values")
    };
    if expected != found {
        return Err(Error::tensor(tensor, TensorProblem::Length { expected, found, unit }));
    }
    Ok(())
}

/// The value of a numeric key of `external_data`.
pub(super) fn external_number(tensor: &TensorProto, key: &'static str) -> Result<Option<u64>, Error> {
    let Some(entry) = tensor.external_data.iter().find(|entry| entry.key() == key) else { return Ok(None) };
    let number = |value: &str| value.parse().ok();
    let problem = || TensorProblem::Number { key, value: entry.value().to_owned() };
    number(entry.value()).map(Some).ok_or_else(|| Error::tensor(tensor, problem()))
}

/// Values that the typed field of `tensor` must have and has; `None` for unknown types.
fn typed_len(tensor: &TensorProto) -> Result<Option<(u64, u64)>, Error> {
    let elements = elements(tensor)?;
    let found = match tensor.data_type() {
        1 | 14 => tensor.float_data.len(),
        2..=6 | 9 | 10 | 16..=20 | 24 => tensor.int32_data.len(),
        7 => tensor.int64_data.len(),
        8 => tensor.string_data.len(),
        11 | 15 => tensor.double_data.len(),
        12 | 13 => tensor.uint64_data.len(),
        _ => return Ok(None),
    };
    let per_element = if matches!(tensor.data_type(), 14 | 15) { 2 } else { 1 };
    Ok(Some((elements.saturating_mul(per_element), found as u64)))
}

/// The data of `tensor` as little-endian bytes, without copying when they are stored so; `None` for other stores.
pub(super) fn raw(tensor: &TensorProto) -> Option<Bytes> {
    if let Some(raw) = &tensor.raw_data {
        return Some(raw.clone());
    }
    let bytes: Vec<u8> = match tensor.data_type() {
        data_type::FLOAT => tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        data_type::DOUBLE => tensor.double_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        data_type::INT64 => tensor.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        data_type::INT32 => tensor.int32_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        data_type::INT8 | data_type::UINT8 => tensor.int32_data.iter().map(|value| *value as u8).collect(),
        // These are the low half of their int32.
        data_type::INT16 | data_type::UINT16 | data_type::FLOAT16 | data_type::BFLOAT16 => {
            tensor.int32_data.iter().flat_map(|value| (*value as u16).to_le_bytes()).collect()
        }
        _ => return None,
    };
    Some(bytes.into())
}

/// Bits per element by `TensorProto.DataType`.
fn bits(data_type: i32) -> Option<u64> {
    match data_type {
        25 | 26 => Some(2),
        21..=23 => Some(4),
        2 | 3 | 9 | 17..=20 | 24 => Some(8),
        4 | 5 | data_type::FLOAT16 | 16 => Some(16),
        data_type::FLOAT | data_type::INT32 | 12 => Some(32),
        data_type::INT64 | data_type::DOUBLE | 13 | 14 => Some(64),
        15 => Some(128),
        _ => None,
    }
}
