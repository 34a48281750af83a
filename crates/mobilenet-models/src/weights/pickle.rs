//! As much of Python's pickle format (protocol 2) as a state dict needs, and nothing that could run code.
//!
//! Candle has a reader of its own, but it panics on malformed input, prints what it skips, and cannot read the integers
//! of PyTorch's older files. This one keeps strings, integers, tuples, lists of strings, dicts and tensors; all else
//! becomes [`Value::Other`]. Nothing nests deeper than a state dict does, and nothing is allocated that is not in the
//! input.
//!
//! Source: `Lib/pickletools.py` of CPython.

use std::collections::HashMap;
use std::rc::Rc;

/// What a pickle holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(i64),
    Str(Rc<str>),
    /// `module name`
    Class(Rc<str>),
    Tuple(Rc<[Value]>),
    /// The strings of a list.
    List(Vec<Rc<str>>),
    /// The entries of a dict whose keys are strings.
    Dict(Vec<(Rc<str>, Value)>),
    Storage(Rc<StorageRef>),
    Tensor(Rc<TensorRef>),
    Mark,
    Other,
}

/// A storage: numbers of one type elsewhere in the file.
#[derive(Debug)]
pub(super) struct StorageRef {
    /// `FloatStorage`, …
    pub class: Rc<str>,
    pub key: Rc<str>,
}

/// A view of a storage; offset and strides in elements.
#[derive(Debug)]
pub(super) struct TensorRef {
    pub storage: Rc<StorageRef>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A pickle that was read.
pub(super) struct Pickle {
    /// The object.
    pub root: Value,
    /// Every storage that it refers to.
    pub storages: Vec<Rc<StorageRef>>,
    /// The number of bytes it takes.
    pub length: usize,
}

/// Reads the pickle at the start of `bytes`.
pub(super) fn load(bytes: &[u8]) -> Result<Pickle, String> {
    let mut machine = Machine { bytes, at: 0, stack: Vec::new(), memo: HashMap::new(), storages: Vec::new() };
    while machine.step()? {}
    Ok(Pickle { root: machine.pop()?, storages: machine.storages, length: machine.at })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    storages: Vec<Rc<StorageRef>>,
}

impl<'a> Machine<'a> {
    /// Runs one instruction; false after the last.
    fn step(&mut self) -> Result<bool, String> {
        let [op] = self.take::<1>()?;
        match op {
            // PROTO
            0x80 => {
                self.take::<1>()?;
            }
            // STOP
            b'.' => return Ok(false),
            b'(' => self.stack.push(Value::Mark),
            // NONE, NEWTRUE, NEWFALSE
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
            // BINFLOAT
            b'G' => {
                self.take::<8>()?;
                self.stack.push(Value::Other);
            }
            // BININT, BININT1, BININT2, LONG1
            b'J' => {
                let value = i32::from_le_bytes(self.take()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'K' => {
                let [value] = self.take::<1>()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take()?);
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => {
                let [length] = self.take::<1>()?;
                let value = long(self.slice(length.into())?);
                self.stack.push(value);
            }
            // BINUNICODE
            b'X' => {
                let length = u32::from_le_bytes(self.take()?);
                let text = self.slice(length as usize)?;
                let text = std::str::from_utf8(text).map_err(|error| format!("pickle: {error}"))?;
                self.stack.push(Value::Str(text.into()));
            }
            // GLOBAL
            b'c' => {
                let class = format!("{} {}", self.line()?, self.line()?);
                self.stack.push(Value::Class(class.into()));
            }
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.stack.push(tuple(Vec::new())),
            0x85..=0x87 => {
                let start = self.stack.len().checked_sub((op - 0x84).into()).ok_or_else(empty_stack)?;
                let items = self.stack.split_off(start);
                self.stack.push(tuple(items));
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.stack.push(tuple(items));
            }
            b']' => self.stack.push(Value::List(Vec::new())),
            // APPEND, APPENDS
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b'}' => self.stack.push(Value::Dict(Vec::new())),
            // SETITEM, SETITEMS
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(items)?;
            }
            // BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
            b'q' => {
                let [index] = self.take::<1>()?;
                self.put(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.take()?);
                self.put(index)?;
            }
            b'h' => {
                let [index] = self.take::<1>()?;
                self.get(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.take()?);
                self.get(index)?;
            }
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                let storage = storage(&id).map(Rc::new);
                self.storages.extend(storage.clone());
                self.stack.push(storage.map_or(Value::Other, Value::Storage));
            }
            // REDUCE
            b'R' => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.stack.push(reduce(&callable, &args));
            }
            // NEWOBJ
            0x81 => {
                self.pop()?;
                self.pop()?;
                self.stack.push(Value::Other);
            }
            // BUILD: sets attributes (a state dict's `_metadata`), which are of no use here.
            b'b' => {
                self.pop()?;
            }
            other => return Err(format!("pickle: unknown instruction {other:#04x} at byte {}", self.at - 1)),
        }
        Ok(true)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length);
        let slice = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(cut)?;
        self.at += length;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, _) = self.bytes.get(self.at..).and_then(<[u8]>::split_first_chunk).ok_or_else(cut)?;
        self.at += N;
        Ok(*bytes)
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or_else(cut)?;
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(empty_stack)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark)).ok_or_else(empty_stack)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.stack.last_mut() {
            Some(Value::List(list)) => list.extend(items.into_iter().filter_map(|item| match item {
                Value::Str(text) => Some(text),
                _ => None,
            })),
            Some(_) => {}
            None => return Err(empty_stack()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.stack.last_mut() {
            Some(Value::Dict(dict)) => {
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    if let Value::Str(key) = key {
                        dict.push((key, shallow(value)));
                    }
                }
            }
            Some(_) => {}
            None => return Err(empty_stack()),
        }
        Ok(())
    }

    /// Lists and dicts are not kept: they may still grow, and nothing in a state dict refers to one twice.
    fn put(&mut self, index: u32) -> Result<(), String> {
        let value = match self.stack.last().ok_or_else(empty_stack)? {
            Value::List(_) | Value::Dict(_) => Value::Other,
            value => value.clone(),
        };
        self.memo.insert(index, value);
        Ok(())
    }

    fn get(&mut self, index: u32) -> Result<(), String> {
        let value = self.memo.get(&index).cloned();
        self.stack.push(value.ok_or_else(|| format!("pickle: nothing was put at {index}"))?);
        Ok(())
    }
}

fn cut() -> String {
    "pickle: it ends in the middle".into()
}

fn empty_stack() -> String {
    "pickle: an instruction finds too few values".into()
}

/// A little-endian integer in two's complement.
fn long(bytes: &[u8]) -> Value {
    let Some(last) = bytes.last() else { return Value::Int(0) };
    if bytes.len() > 8 {
        return Value::Other;
    }
    let mut padded = if last & 0x80 == 0 { [0; 8] } else { [0xff; 8] };
    padded[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(padded))
}

/// A tuple whose own tuples hold no further ones.
fn tuple(items: Vec<Value>) -> Value {
    let nested = |value: &Value| matches!(value, Value::Tuple(_));
    let keep = |value| match value {
        Value::Tuple(inner) if inner.iter().any(nested) => Value::Other,
        Value::Dict(_) | Value::List(_) => Value::Other,
        value => value,
    };
    Value::Tuple(items.into_iter().map(keep).collect())
}

/// A dict's value: a state dict in a checkpoint is as deep as it goes.
fn shallow(value: Value) -> Value {
    match value {
        Value::Dict(entries) => {
            let keep = |(_, value): &(Rc<str>, Value)| !matches!(value, Value::Dict(_));
            Value::Dict(entries.into_iter().filter(keep).collect())
        }
        value => value,
    }
}

/// `('storage', class, key, location, length, …)`
fn storage(id: &Value) -> Option<StorageRef> {
    let Value::Tuple(items) = id else { return None };
    let [_, Value::Class(class), Value::Str(key), ..] = &items[..] else { return None };
    let class = class.rsplit(' ').next()?.into();
    Some(StorageRef { class, key: key.clone() })
}

fn reduce(callable: &Value, args: &Value) -> Value {
    let (Value::Class(class), Value::Tuple(args)) = (callable, args) else { return Value::Other };
    match (&**class, &args[..]) {
        ("collections OrderedDict", []) => Value::Dict(Vec::new()),
        ("torch._utils _rebuild_tensor_v2", args) => tensor(args).unwrap_or(Value::Other),
        ("torch._utils _rebuild_parameter", [value @ Value::Tensor(_), ..]) => value.clone(),
        _ => Value::Other,
    }
}

/// `(storage, offset, shape, strides, …)`
fn tensor(args: &[Value]) -> Option<Value> {
    let [Value::Storage(storage), offset, Value::Tuple(shape), Value::Tuple(strides), ..] = args else { return None };
    let size = |value: &Value| match value {
        Value::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    };
    Some(Value::Tensor(Rc::new(TensorRef {
        storage: storage.clone(),
        offset: size(offset)?,
        shape: shape.iter().map(size).collect::<Option<_>>()?,
        strides: strides.iter().map(size).collect::<Option<_>>()?,
    })))
}
