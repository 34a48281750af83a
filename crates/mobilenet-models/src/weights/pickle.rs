//! What PyTorch's functions would make of the values of a pickle: tensors and parameters. No other function is known,
//! and none is called.
//!
//! Sources: `torch/_utils.py` (`_rebuild_tensor_v2` and its kin), `torch/_tensor.py` (`_rebuild_from_type_v2`),
//! `torch/serialization.py` (`persistent_load`).

use mobilenet_common::pickle::{Id, Pickle, Value};

/// The most instructions of a pickle. A MobileNet saved whole has 30,000, a checkpoint with an optimizer no more.
const MAX_INSTRUCTIONS: usize = 1 << 20;
/// How often a tensor is wrapped: as a parameter, as one of a subclass.
const MAX_WRAPPERS: usize = 4;

/// The objects of a pickle.
pub(super) struct Objects<'a>(Pickle<'a>);

/// An object.
pub(super) enum Object<'a> {
    Tensor(TensorRef<'a>),
    /// A dict, or an instance of some class: what it holds by key, and its state.
    Instance(&'a [(Id, Id)], Option<Id>),
    /// Whatever no tensor is found by.
    Other,
}

/// A storage: numbers of one type elsewhere in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageRef<'a> {
    /// `FloatStorage`, …
    pub class: &'a str,
    pub key: &'a str,
}

/// A view of a storage; offset and strides in elements.
pub(super) struct TensorRef<'a> {
    pub storage: StorageRef<'a>,
    /// `float32`, where the tensor itself says it.
    pub dtype: Option<&'a str>,
    pub offset: Id,
    /// Sequences.
    pub shape: Id,
    pub strides: Id,
}

impl<'a> Objects<'a> {
    /// Reads the pickle at the start of `bytes`.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        Pickle::read(bytes, MAX_INSTRUCTIONS).map(Self).map_err(|error| format!("pickle: {error}"))
    }

    pub fn root(&self) -> Id {
        self.0.root()
    }

    /// The number of bytes that the pickle takes.
    pub fn length(&self) -> usize {
        self.0.length()
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        self.0.text(id)
    }

    /// The items of a tuple or list.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        self.0.list(id)
    }

    /// A number that can be a size.
    pub fn size(&self, id: Id) -> Option<usize> {
        if let Value::Int(n) = self.0.value(id) { usize::try_from(*n).ok() } else { None }
    }

    /// A tuple or list of sizes, of at most `most`.
    pub fn sizes(&self, id: Id, most: usize) -> Option<Vec<usize>> {
        let items = self.sequence(id).filter(|items| items.len() <= most)?;
        items.iter().map(|&item| self.size(item)).collect()
    }

    /// Every storage that the pickle refers to.
    pub fn storages(&self) -> impl Iterator<Item = StorageRef<'_>> {
        self.0.values().iter().filter_map(|value| self.storage(value))
    }

    /// The object at a place.
    pub fn object(&self, id: Id) -> Object<'_> {
        match self.0.value(id) {
            Value::Dict(entries) => Object::Instance(entries, None),
            Value::Made(made) => match self.made(made.of, made.arguments, MAX_WRAPPERS) {
                Some(tensor) => Object::Tensor(tensor),
                None => Object::Instance(&made.entries, made.state),
            },
            _ => Object::Other,
        }
    }

    /// The tensor that a function makes of its arguments.
    fn made(&self, function: Id, arguments: Id, wrappers: usize) -> Option<TensorRef<'_>> {
        match (self.class(function)?, self.sequence(arguments)?) {
            (("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2"), &[storage, offset, shape, strides, ..]) => {
                self.tensor(storage, [offset, shape, strides], None)
            }
            // A seventh argument is the type.
            (("torch._utils", "_rebuild_tensor_v3"), &[storage, offset, shape, strides, _, _, dtype, ..]) => {
                let (module, dtype) = self.class(dtype)?;
                self.tensor(storage, [offset, shape, strides], (module == "torch").then_some(dtype))
            }
            (("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), &[inner, ..]) => {
                let Value::Made(made) = self.0.value(inner) else { return None };
                self.made(made.of, made.arguments, wrappers.checked_sub(1)?)
            }
            // A subclass of a tensor: a function, the subclass, the function's arguments.
            (("torch._tensor", "_rebuild_from_type_v2"), &[inner, _, inner_arguments, ..]) => {
                self.made(inner, inner_arguments, wrappers.checked_sub(1)?)
            }
            _ => None,
        }
    }

    fn tensor<'b>(
        &'b self,
        storage: Id,
        [offset, shape, strides]: [Id; 3],
        dtype: Option<&'b str>,
    ) -> Option<TensorRef<'b>> {
        let storage = self.storage(self.0.value(storage))?;
        Some(TensorRef { storage, dtype, offset, shape, strides })
    }

    /// What `('storage', class, key, location, length, …)` outside of the pickle stands for.
    fn storage(&self, value: &Value) -> Option<StorageRef<'_>> {
        let Value::Persistent(id) = value else { return None };
        let [kind, class, key, ..] = *self.sequence(*id)? else { return None };
        let (_, class) = self.class(class).filter(|_| self.text(kind) == Some("storage"))?;
        Some(StorageRef { class, key: self.text(key)? })
    }

    /// Module and name of a class, which old files wrap in `('module', class, file, source)`.
    fn class(&self, id: Id) -> Option<(&str, &str)> {
        let Value::Persistent(wrapped) = *self.0.value(id) else { return self.0.global(id) };
        let [kind, class, ..] = *self.sequence(wrapped)? else { return None };
        self.0.global(class).filter(|_| self.text(kind) == Some("module"))
    }
}
