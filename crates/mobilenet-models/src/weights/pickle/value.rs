//! What a pickle holds: values, and the objects that they refer to.
//!
//! Objects lie in one list and are referred to by their place in it, so that a value that a pickle repeats takes no
//! more than the bytes that repeat it, and an object may grow after it was referred to.

use std::rc::Rc;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Str(Rc<str>),
    /// `module name`
    Class(Rc<str>),
    /// An object, by its place in [`Objects`].
    Object(usize),
    /// Where a list of arguments begins.
    Mark,
    /// Whatever no tensor is found by.
    Other,
}

/// An object.
#[derive(Debug)]
pub enum Object {
    /// A tuple or a list.
    Sequence(Vec<Value>),
    /// A dict, or an instance of some class: what it holds by key, and its state.
    Instance {
        items: Vec<(Value, Value)>,
        state: Value,
    },
    Storage(Rc<StorageRef>),
    Tensor(TensorRef),
}

/// A storage: numbers of one type elsewhere in the file.
#[derive(Debug)]
pub struct StorageRef {
    /// `FloatStorage`, …
    pub class: Rc<str>,
    pub key: Rc<str>,
}

/// A view of a storage; offset and strides in elements.
#[derive(Debug)]
pub struct TensorRef {
    pub storage: Rc<StorageRef>,
    /// `float32`, where the tensor itself says it.
    pub dtype: Option<Rc<str>>,
    pub offset: Value,
    /// Sequences.
    pub shape: Value,
    pub strides: Value,
}

/// All objects of a pickle.
#[derive(Debug, Default)]
pub struct Objects(Vec<Object>);

impl Objects {
    /// Keeps an object.
    pub fn add(&mut self, object: Object) -> Value {
        self.0.push(object);
        Value::Object(self.0.len() - 1)
    }

    /// A new dict or instance.
    pub fn instance(&mut self) -> Value {
        self.add(Object::Instance { items: Vec::new(), state: Value::Other })
    }

    pub fn get(&self, value: &Value) -> Option<&Object> {
        match value {
            Value::Object(place) => self.0.get(*place),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, value: &Value) -> Option<&mut Object> {
        match value {
            Value::Object(place) => self.0.get_mut(*place),
            _ => None,
        }
    }

    /// The items of a tuple or list.
    pub fn sequence(&self, value: &Value) -> Option<&[Value]> {
        match self.get(value) {
            Some(Object::Sequence(items)) => Some(items),
            _ => None,
        }
    }

    /// A tuple or list of sizes, of at most `most`.
    pub fn sizes(&self, value: &Value, most: usize) -> Option<Vec<usize>> {
        let items = self.sequence(value).filter(|items| items.len() <= most)?;
        items.iter().map(size).collect()
    }
}

/// A number that can be a size.
pub fn size(value: &Value) -> Option<usize> {
    match value {
        Value::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}
