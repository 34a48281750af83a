//! The tensors of a pickle by dotted names: those of nested dicts, and those of modules that were saved whole.
//!
//! A name is what leads to the tensor: `state_dict.model.features.0.0.weight`. Of a module, the tables in which PyTorch
//! keeps its parts add nothing to it, so that a module's tensors have the names of its state dict; one of TorchScript
//! has its parts as attributes.

use mobilenet_common::pickle::Id;

use super::pickle::{Object, Objects, TensorRef};

/// Where `torch.nn.Module` keeps its parameters, buffers and submodules.
const MODULE_TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];
/// How deep tensors are looked for. A MobileNet's lie eight deep in its checkpoint's state dict or module.
const MAX_DEPTH: usize = 48;
/// The most values looked at: objects may refer to each other in more ways than there are tensors.
const MAX_VALUES: usize = 1 << 20;
/// The most bytes of all names together: those of a thousand networks.
const MAX_NAME_BYTES: usize = 16 << 20;

/// Every tensor below `root` with its name, in the order of the file.
pub(super) fn tensors<'a>(objects: &'a Objects) -> Result<Vec<(String, TensorRef<'a>)>, String> {
    let mut walk = Walk { objects, left: MAX_VALUES, name_bytes: MAX_NAME_BYTES, found: Vec::new() };
    walk.visit(objects.root(), "", 0)?;
    Ok(walk.found)
}

struct Walk<'a> {
    objects: &'a Objects<'a>,
    left: usize,
    name_bytes: usize,
    found: Vec<(String, TensorRef<'a>)>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, id: Id, path: &str, depth: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(1).ok_or("more values than a checkpoint has")?;
        match self.objects.object(id) {
            Object::Tensor(tensor) => {
                self.spend(path.len())?;
                self.found.push((path.to_owned(), tensor));
                Ok(())
            }
            Object::Instance(items, state) if depth < MAX_DEPTH => {
                match state.map(|state| self.objects.object(state)) {
                    // What a dict has beside its items, such as a state dict's `_metadata`, is no tensor.
                    Some(Object::Instance(attributes, _)) if items.is_empty() => self.items(attributes, path, depth),
                    _ => self.items(items, path, depth),
                }
            }
            Object::Instance(..) | Object::Other => Ok(()),
        }
    }

    fn items(&mut self, items: &[(Id, Id)], path: &str, depth: usize) -> Result<(), String> {
        for &(key, value) in items {
            let Some(key) = self.objects.text(key) else { continue };
            if MODULE_TABLES.contains(&key) {
                self.visit(value, path, depth + 1)?;
                continue;
            }
            self.spend(path.len() + key.len() + 1)?;
            let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            self.visit(value, &path, depth + 1)?;
        }
        Ok(())
    }

    /// Counts the bytes of a name that is made.
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.name_bytes = self.name_bytes.checked_sub(bytes).ok_or("names longer than a checkpoint has")?;
        Ok(())
    }
}
