//! The machine that a pickle is a program for. It calls nothing: what it would call becomes a value.

use std::collections::HashMap;
use std::ops::Range;

use super::{Id, Made, PickleError, Result, Value};

#[derive(Default)]
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// The next byte.
    pub at: usize,
    pub values: Vec<Value>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// One instruction; false after the last.
    pub fn step(&mut self) -> Result<bool> {
        let code = self.take(1)?.start;
        match self.bytes[code] {
            b'.' => return Ok(false),
            0x80 => {
                self.take(1)?;
            }
            0x95 => {
                self.take(8)?;
            }
            b'(' => {
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'G' => {
                self.take(8)?;
                self.push(Value::Other);
            }
            b'F' => {
                self.line()?;
                self.push(Value::Other);
            }
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Value::Int(value.into()));
            }
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'I' | b'L' => {
                let line = self.line()?;
                let text = std::str::from_utf8(&self.bytes[line]).unwrap_or("").trim_end_matches('L');
                let value = text.parse().map_or(Value::Other, Value::Int);
                self.push(value);
            }
            0x8a => {
                let length = self.number(1)? as usize;
                self.long(length)?;
            }
            0x8b => {
                let length = self.number(4)? as usize;
                self.long(length)?;
            }
            b'U' | b'C' | 0x8c => self.string(1)?,
            b'T' | b'X' | b'B' => self.string(4)?,
            0x8d | 0x8e | 0x96 => self.string(8)?,
            b'V' => {
                let line = self.line()?;
                self.push(Value::Bytes(line));
            }
            b'S' => {
                let line = self.line()?;
                let text = unquoted(&self.bytes[line]).ok_or("a string without its quotes")?;
                self.push(Value::Owned(text));
            }
            b']' | b')' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'l' | b't' => {
                let items = self.since_mark()?;
                self.push(Value::List(items));
            }
            code @ 0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let from = self.stack.len().checked_sub(count).ok_or("an empty stack")?;
                let items = self.stack.split_off(from);
                self.push(Value::List(items));
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(pairs(&items)));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[(key, value)])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(&pairs(&items))?;
            }
            b'p' | b'g' => {
                let line = self.line()?;
                let key = std::str::from_utf8(&self.bytes[line]).ok().and_then(|text| text.trim().parse().ok());
                let key = key.ok_or("a memo without a number")?;
                if self.bytes[code] == b'p' { self.keep(key)? } else { self.recall(key)? }
            }
            b'q' | b'r' => {
                let key = self.number(if self.bytes[code] == b'q' { 1 } else { 4 })?;
                self.keep(key)?;
            }
            b'h' | b'j' => {
                let key = self.number(if self.bytes[code] == b'h' { 1 } else { 4 })?;
                self.recall(key)?;
            }
            0x94 => self.keep(self.memo.len() as u64)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match &self.values[id] {
                    Value::Bytes(range) => Some(range.clone()),
                    _ => None,
                };
                self.push(
                    text(module).zip(text(name)).map_or(Value::Other, |(module, name)| Value::Global(module, name)),
                );
            }
            b'R' | 0x81 => {
                let (arguments, of) = (self.pop()?, self.pop()?);
                self.made(of, arguments);
            }
            // With arguments that have names.
            0x92 => {
                let (_named, arguments, of) = (self.pop()?, self.pop()?, self.pop()?);
                self.made(of, arguments);
            }
            b'b' => {
                let set_to = self.pop()?;
                let top = self.top()?;
                if let Value::Made(made) = &mut self.values[top] {
                    made.state = Some(set_to);
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id));
            }
            // Sets.
            0x8f => self.push(Value::Other),
            0x90 => drop(self.since_mark()?),
            0x91 => {
                self.since_mark()?;
                self.push(Value::Other);
            }
            other => {
                let at = self.at - 1;
                return Err(PickleError(format!("unknown instruction 0x{other:02x} at byte {at}").into()));
            }
        }
        Ok(true)
    }

    /// The next bytes.
    fn take(&mut self, count: usize) -> Result<Range<usize>> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len()).ok_or("cut short")?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    /// The next bytes up to a line feed, which is taken, too.
    fn line(&mut self) -> Result<Range<usize>> {
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'\n').ok_or("cut short")?;
        let range = self.take(length)?;
        self.take(1)?;
        Ok(range)
    }

    /// The next bytes as a number without sign, the smallest first.
    fn number(&mut self, bytes: usize) -> Result<u64> {
        let range = self.take(bytes)?;
        Ok(self.bytes[range].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn int(&mut self, bytes: usize) -> Result<()> {
        let value = self.number(bytes)? as i64;
        self.push(Value::Int(value));
        Ok(())
    }

    /// A number of any length, with sign.
    fn long(&mut self, length: usize) -> Result<()> {
        let range = self.take(length)?;
        let bytes = &self.bytes[range];
        let value = match bytes.last() {
            None => Value::Int(0),
            Some(last) if bytes.len() <= 8 => {
                let fill = if last & 0x80 == 0 { 0 } else { 0xff };
                let word = std::array::from_fn(|i| bytes.get(i).copied().unwrap_or(fill));
                Value::Int(i64::from_le_bytes(word))
            }
            Some(_) => Value::Other,
        };
        self.push(value);
        Ok(())
    }

    /// Bytes or text behind their length.
    fn string(&mut self, length: usize) -> Result<()> {
        let length = usize::try_from(self.number(length)?).map_err(|_| "cut short")?;
        let range = self.take(length)?;
        self.push(Value::Bytes(range));
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
    }

    fn made(&mut self, of: Id, arguments: Id) {
        self.push(Value::Made(Box::new(Made { of, arguments, entries: Vec::new(), state: None })));
    }

    pub fn pop(&mut self) -> Result<Id> {
        Ok(self.stack.pop().ok_or("an empty stack")?)
    }

    fn top(&self) -> Result<Id> {
        Ok(*self.stack.last().ok_or("an empty stack")?)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or("a missing mark")?;
        Ok(self.stack.split_off(mark))
    }

    /// What is no list of this reader's is left as it is.
    fn append(&mut self, items: &[Id]) -> Result<()> {
        let top = self.top()?;
        if let Value::List(list) = &mut self.values[top] {
            list.extend_from_slice(items);
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[(Id, Id)]) -> Result<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(entries) => entries.extend_from_slice(items),
            Value::Made(made) => made.entries.extend_from_slice(items),
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, key: u64) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<()> {
        let id = *self.memo.get(&key).ok_or("a memo that is not there")?;
        self.stack.push(id);
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// What Python's `repr` of a byte string stands for.
fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let (&quote, rest) = text.split_first()?;
    let mut inner = rest.strip_suffix(&[quote]).filter(|_| matches!(quote, b'\'' | b'"'))?.iter().copied();
    let mut out = Vec::new();
    while let Some(byte) = inner.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match inner.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = [inner.next()?, inner.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(out)
}
