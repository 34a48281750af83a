//! As much of Python's pickle format (protocols 2 to 5) as finding tensors needs, and nothing that could run code.
//!
//! Candle has a reader of its own, but it panics on malformed input, prints what it skips, and cannot read the integers
//! of PyTorch's older files. This one keeps strings, integers, tuples, lists, dicts, the states of objects, and tensors;
//! a class is a name and is never looked up. What is kept grows with the input and no faster: what a pickle repeats is
//! referred to, not copied.
//!
//! Source: `Lib/pickletools.py` of CPython.

mod rebuild;
mod value;

use std::collections::HashMap;
use std::rc::Rc;

use rebuild::{persistent, reduce};
pub(super) use value::{Object, Objects, StorageRef, TensorRef, Value, size};

/// The most instructions of a pickle. A MobileNet saved whole has 30,000, a checkpoint with an optimizer no more.
const MAX_INSTRUCTIONS: usize = 1 << 20;
/// The most bytes of a class's name.
const MAX_CLASS_NAME: usize = 512;

/// A pickle that was read.
pub(super) struct Pickle {
    pub root: Value,
    pub objects: Objects,
    /// Every storage that it refers to.
    pub storages: Vec<Rc<StorageRef>>,
    /// The number of bytes it takes.
    pub length: usize,
}

/// Reads the pickle at the start of `bytes`.
pub(super) fn load(bytes: &[u8]) -> Result<Pickle, String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        memo: HashMap::new(),
        objects: Objects::default(),
        storages: Vec::new(),
    };
    for _ in 0..MAX_INSTRUCTIONS {
        if !machine.step()? {
            let root = machine.pop()?;
            let Machine { objects, storages, at: length, .. } = machine;
            return Ok(Pickle { root, objects, storages, length });
        }
    }
    Err(format!("pickle: more than {MAX_INSTRUCTIONS} instructions"))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    objects: Objects,
    storages: Vec<Rc<StorageRef>>,
}

impl<'a> Machine<'a> {
    /// Runs one instruction; false after the last.
    fn step(&mut self) -> Result<bool, String> {
        let [op] = self.take::<1>()?;
        match op {
            // PROTO, FRAME
            0x80 => drop(self.take::<1>()?),
            0x95 => drop(self.take::<8>()?),
            // STOP
            b'.' => return Ok(false),
            // MARK, POP, POP_MARK, DUP
            b'(' => self.stack.push(Value::Mark),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.stack.extend(self.stack.last().cloned()),
            // NONE, NEWTRUE, NEWFALSE
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
            // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
            b'J' | b'K' | b'M' | 0x8a | 0x8b | b'G' => self.number(op)?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8, and the strings of Python 2: SHORT_BINSTRING, BINSTRING
            0x8c | b'X' | 0x8d | b'U' | b'T' => self.text(op)?,
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' | b'B' | 0x8e | 0x96 => {
                let length = self.length(op)?;
                self.slice(length)?;
                self.stack.push(Value::Other);
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(class(&module, &name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                self.stack.push(match (&module, &name) {
                    (Value::Str(module), Value::Str(name)) => class(module, name),
                    _ => Value::Other,
                });
            }
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE, EMPTY_LIST, LIST
            b')' | b']' => self.sequence(Vec::new()),
            0x85..=0x87 => {
                let start = self.stack.len().checked_sub((op - 0x84).into()).ok_or_else(empty_stack)?;
                let items = self.stack.split_off(start);
                self.sequence(items);
            }
            b't' | b'l' => {
                let items = self.pop_to_mark()?;
                self.sequence(items);
            }
            // EMPTY_SET, FROZENSET, ADDITEMS
            0x8f => self.stack.push(Value::Other),
            0x91 => {
                self.pop_to_mark()?;
                self.stack.push(Value::Other);
            }
            0x90 => drop(self.pop_to_mark()?),
            // APPEND, APPENDS
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.instance(),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.instance();
                self.set_items(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(op)?,
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                let value = persistent(&id, &mut self.objects, &mut self.storages);
                self.stack.push(value);
            }
            // REDUCE, NEWOBJ, NEWOBJ_EX, BUILD
            b'R' => {
                let (args, callable) = (self.pop()?, self.pop()?);
                let value = reduce(&callable, &args, &mut self.objects);
                self.stack.push(value);
            }
            0x81 => {
                self.pop()?;
                self.pop()?;
                self.instance();
            }
            0x92 => {
                for _class_and_arguments in 0..3 {
                    self.pop()?;
                }
                self.instance();
            }
            b'b' => self.build()?,
            other => return Err(format!("pickle: unknown instruction {other:#04x} at byte {}", self.at - 1)),
        }
        Ok(true)
    }

    fn number(&mut self, op: u8) -> Result<(), String> {
        let value = match op {
            b'J' => Value::Int(i32::from_le_bytes(self.take()?).into()),
            b'K' => Value::Int(u8::from_le_bytes(self.take()?).into()),
            b'M' => Value::Int(u16::from_le_bytes(self.take()?).into()),
            b'G' => {
                self.take::<8>()?;
                Value::Other
            }
            _ => {
                let length = self.length(op)?;
                long(self.slice(length)?)
            }
        };
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, op: u8) -> Result<(), String> {
        let length = self.length(op)?;
        let text = self.slice(length)?;
        let value = match std::str::from_utf8(text) {
            Ok(text) => Value::Str(text.into()),
            // Python 2 put any bytes there.
            Err(_) if matches!(op, b'U' | b'T') => Value::Other,
            Err(error) => return Err(format!("pickle: {error}")),
        };
        self.stack.push(value);
        Ok(())
    }

    /// The length that follows an instruction, in one, four or eight bytes.
    fn length(&mut self, op: u8) -> Result<usize, String> {
        let length = match op {
            0x8a | 0x8c | b'U' | b'C' => u64::from(u8::from_le_bytes(self.take()?)),
            0x8d | 0x8e | 0x96 => u64::from_le_bytes(self.take()?),
            _ => u64::from(u32::from_le_bytes(self.take()?)),
        };
        usize::try_from(length).map_err(|_| cut())
    }

    fn sequence(&mut self, items: Vec<Value>) {
        let value = self.objects.add(Object::Sequence(items));
        self.stack.push(value);
    }

    fn instance(&mut self) {
        let value = self.objects.instance();
        self.stack.push(value);
    }

    /// Stores the top of the stack, or puts what was stored on top.
    fn memo(&mut self, op: u8) -> Result<(), String> {
        let place = match op {
            b'q' | b'h' => u8::from_le_bytes(self.take()?).into(),
            b'r' | b'j' => u32::from_le_bytes(self.take()?),
            _ => u32::try_from(self.memo.len()).map_err(|_| cut())?,
        };
        if matches!(op, b'h' | b'j') {
            let value = self.memo.get(&place).cloned();
            self.stack.push(value.ok_or_else(|| format!("pickle: nothing was put at {place}"))?);
        } else {
            let value = self.stack.last().ok_or_else(empty_stack)?.clone();
            self.memo.insert(place, value);
        }
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), String> {
        let list = self.stack.last().ok_or_else(empty_stack)?;
        if let Some(Object::Sequence(list)) = self.objects.get_mut(list) {
            list.extend(items);
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), String> {
        let dict = self.stack.last().ok_or_else(empty_stack)?;
        if let Some(Object::Instance { items: entries, .. }) = self.objects.get_mut(dict) {
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                entries.push((key, value));
            }
        }
        Ok(())
    }

    /// Gives an object its state: a module's parameters, for one.
    fn build(&mut self) -> Result<(), String> {
        let found = self.pop()?;
        let object = self.stack.last().ok_or_else(empty_stack)?;
        if let Some(Object::Instance { state, .. }) = self.objects.get_mut(object) {
            *state = found;
        }
        Ok(())
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
}

fn cut() -> String {
    "pickle: it ends in the middle".into()
}

fn empty_stack() -> String {
    "pickle: an instruction finds too few values".into()
}

/// The name of a class, if it is one that anybody gives.
fn class(module: &str, name: &str) -> Value {
    if module.len() + name.len() > MAX_CLASS_NAME {
        return Value::Other;
    }
    Value::Class(format!("{module} {name}").into())
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
