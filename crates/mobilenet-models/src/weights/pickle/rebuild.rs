//! What PyTorch's functions would make of their arguments: tensors and parameters. No other function is known.
//!
//! Sources: `torch/_utils.py` (`_rebuild_tensor_v2` and its kin), `torch/_tensor.py` (`_rebuild_from_type_v2`),
//! `torch/serialization.py` (`persistent_load`).

use std::rc::Rc;

use super::{Object, Objects, StorageRef, TensorRef, Value};

/// What a persistent id stands for: `('storage', class, key, location, length, …)`, or in old files
/// `('module', class, file, source)`.
pub(super) fn persistent(id: &Value, objects: &mut Objects, storages: &mut Vec<Rc<StorageRef>>) -> Value {
    let Some([Value::Str(kind), Value::Class(class), rest @ ..]) = objects.sequence(id) else { return Value::Other };
    match (&**kind, rest) {
        ("module", _) => Value::Class(class.clone()),
        ("storage", [Value::Str(key), ..]) => {
            let class = class.rsplit(' ').next().unwrap_or_default().into();
            let storage = Rc::new(StorageRef { class, key: key.clone() });
            storages.push(storage.clone());
            objects.add(Object::Storage(storage))
        }
        _ => Value::Other,
    }
}

/// What a function makes of its arguments; an instance without contents if the function is not known.
pub(super) fn reduce(callable: &Value, args: &Value, objects: &mut Objects) -> Value {
    let Value::Class(class) = callable else { return Value::Other };
    let found = match (&**class, objects.sequence(args)) {
        (
            "torch._utils _rebuild_tensor" | "torch._utils _rebuild_tensor_v2",
            Some([storage, offset, shape, strides, ..]),
        ) => tensor(storage, [offset, shape, strides], None, objects),
        // A seventh argument is the type.
        ("torch._utils _rebuild_tensor_v3", Some([storage, offset, shape, strides, _, _, Value::Class(dtype), ..])) => {
            tensor(storage, [offset, shape, strides], dtype.strip_prefix("torch "), objects)
        }
        (
            "torch._utils _rebuild_parameter" | "torch._utils _rebuild_parameter_with_state",
            Some([value @ Value::Object(_), ..]),
        ) => return value.clone(),
        // A subclass of a tensor: a function, the subclass, the function's arguments.
        ("torch._tensor _rebuild_from_type_v2", Some([Value::Class(inner), _, inner_args, ..])) => {
            // Not itself once more: nothing nests.
            if **inner == **class {
                return Value::Other;
            }
            let (inner, inner_args) = (Value::Class(inner.clone()), inner_args.clone());
            return reduce(&inner, &inner_args, objects);
        }
        _ => None,
    };
    match found {
        Some(tensor) => objects.add(Object::Tensor(tensor)),
        None => objects.instance(),
    }
}

fn tensor(
    storage: &Value,
    [offset, shape, strides]: [&Value; 3],
    dtype: Option<&str>,
    objects: &Objects,
) -> Option<TensorRef> {
    let Some(Object::Storage(storage)) = objects.get(storage) else { return None };
    Some(TensorRef {
        storage: storage.clone(),
        dtype: dtype.map(Rc::from),
        offset: offset.clone(),
        shape: shape.clone(),
        strides: strides.clone(),
    })
}
