//! A graph that grows node by node.

use std::collections::BTreeSet;

use super::proto::attribute_proto::AttributeType;
use super::proto::tensor_proto::DataType;
use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use crate::{Error, Result};

/// Nodes in the order they run, and constants. A node has one result, which has the node's name.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

/// A constant's numbers.
pub(super) enum Numbers<'a> {
    F32(&'a [f32]),
    U8(&'a [u8]),
    I8(&'a [i8]),
    I32(&'a [i32]),
    I64(&'a [i64]),
}

impl Graph {
    /// Adds a node and returns its result's name.
    pub(super) fn node(&mut self, name: String, op: &str, inputs: &[&str]) -> String {
        self.node_with(name, op, inputs, Vec::new())
    }

    /// Adds a node with attributes and returns its result's name.
    pub(super) fn node_with(
        &mut self,
        name: String,
        op: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> String {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op.to_owned(),
            attribute,
        });
        name
    }

    /// Adds a constant and returns its name.
    pub(super) fn constant(&mut self, name: String, shape: &[usize], numbers: Numbers) -> String {
        let (data_type, raw_data) = match numbers {
            Numbers::F32(values) => (DataType::Float, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Numbers::U8(values) => (DataType::Uint8, values.to_vec()),
            Numbers::I8(values) => (DataType::Int8, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Numbers::I32(values) => (DataType::Int32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Numbers::I64(values) => (DataType::Int64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        let dims = shape.iter().map(|&length| length as i64).collect();
        self.constants.push(TensorProto { dims, data_type: data_type.into(), name: name.clone(), raw_data });
        name
    }

    /// [`constant`](Self::constant) of one number, or the name of an equal one that is there.
    pub(super) fn scalar(&mut self, name: String, value: f32) -> String {
        let bytes = value.to_le_bytes();
        let is_there = self.constants.iter().any(|constant| constant.name == name && constant.raw_data[..] == bytes);
        if is_there { name } else { self.constant(name, &[], Numbers::F32(&[value])) }
    }

    /// Gives a node's result another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let names = self.nodes.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output));
        names.filter(|name| *name == from).for_each(|name| to.clone_into(name));
    }

    /// The whole graph.
    ///
    /// # Errors
    /// Two values have one name.
    pub(super) fn finish(self, name: String, input: ValueInfoProto, output: ValueInfoProto) -> Result<GraphProto> {
        let Self { nodes, constants } = self;
        let mut names = BTreeSet::from([&input.name]);
        let made = nodes.iter().flat_map(|node| &node.output).chain(constants.iter().map(|constant| &constant.name));
        for name in made {
            if !names.insert(name) {
                return Err(Error::OnnxName { name: name.clone() });
            }
        }
        Ok(GraphProto { node: nodes, name, initializer: constants, input: vec![input], output: vec![output] })
    }
}

/// A graph's float32 input or output: any number of images, each of this shape.
pub(super) fn floats(name: &str, shape: &[usize]) -> ValueInfoProto {
    let images = dimension::Value::DimParam("n".to_owned());
    let lengths = shape.iter().map(|&length| dimension::Value::DimValue(length as i64));
    let dim = [images].into_iter().chain(lengths).map(|value| Dimension { value: Some(value) }).collect();
    let tensor = type_proto::Tensor { elem_type: DataType::Float.into(), shape: Some(TensorShapeProto { dim }) };
    let value = Some(type_proto::Value::TensorType(tensor));
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { value }) }
}

/// An attribute of whole numbers.
pub(super) fn ints(name: &str, ints: &[usize]) -> AttributeProto {
    let ints = ints.iter().map(|&value| value as i64).collect();
    AttributeProto { name: name.to_owned(), ints, r#type: AttributeType::Ints.into(), ..Default::default() }
}

/// An attribute of one whole number.
pub(super) fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: value as i64, r#type: AttributeType::Int.into(), ..Default::default() }
}

/// An attribute of one number.
pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), f, r#type: AttributeType::Float.into(), ..Default::default() }
}
