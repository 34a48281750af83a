//! Python's pickles as data: nothing in them is executed or imported.
//!
//! A pickle is a program for a machine with a stack. What it would call is kept as it is written (a name, arguments, a
//! state), and whoever reads the result decides what that means. Values lie in one list and refer to each other by their
//! places in it, so that neither copies nor depth can grow beyond the file; of each kind of thing there are at most
//! [`MAX_THINGS`].

use std::collections::HashMap;
use std::ops::Range;

/// Most values, entries of the stack and of the memo.
const MAX_THINGS: usize = 1 << 22;

/// The place of a value.
pub(super) type Id = usize;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// `None`, a truth value or a float: nothing that is looked at.
    Other,
    Int(i64),
    /// Bytes or text, a part of the file.
    Bytes(Range<usize>),
    /// Bytes or text that were written in another way.
    Owned(Vec<u8>),
    /// A list or a tuple.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module.name`
    Global(String),
    /// What a call would give, and what it is then set to.
    Made {
        of: Id,
        arguments: Id,
        state: Option<Id>,
    },
}

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// # Errors
    ///
    /// A reason, of a few words.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine { bytes, ..Machine::default() };
        while machine.step()? {}
        let root = machine.pop()?;
        Ok(Self { bytes, values: machine.values, root })
    }

    pub fn value(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Other)
    }

    /// The value of a key of the outermost dictionary.
    pub fn entry(&self, key: &str) -> Option<Id> {
        let Value::Dict(entries) = self.value(self.root) else { return None };
        // The last one counts, as in Python.
        entries.iter().rev().find(|(k, _)| self.bytes(*k).is_some_and(|k| *k == *key.as_bytes())).map(|&(_, id)| id)
    }

    /// Bytes or text. `_codecs.encode(text, "latin1")`, as Python 3 writes bytes for Python 2, is taken for what it gives.
    pub fn bytes(&self, id: Id) -> Option<std::borrow::Cow<'_, [u8]>> {
        match self.value(id) {
            Value::Bytes(range) => self.bytes.get(range.clone()).map(Into::into),
            Value::Owned(bytes) => Some(bytes.as_slice().into()),
            Value::Made { of, arguments, .. } if self.is_global(*of, &["_codecs.encode"]) => {
                let Value::List(arguments) = self.value(*arguments) else { return None };
                let [text, encoding] = arguments.as_slice() else { return None };
                let plain = |id: Id| match self.value(id) {
                    Value::Bytes(range) => self.bytes.get(range.clone()),
                    Value::Owned(bytes) => Some(bytes.as_slice()),
                    _ => None,
                };
                let text = std::str::from_utf8(plain(*text)?).ok()?;
                match plain(*encoding)? {
                    b"latin1" => text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>(),
                    _ => None,
                }
                .map(Into::into)
            }
            _ => None,
        }
    }

    pub fn is_global(&self, id: Id, names: &[&str]) -> bool {
        matches!(self.value(id), Value::Global(name) if names.contains(&name.as_str()))
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// How many items lists and dictionaries were given.
    items: usize,
}

impl Machine<'_> {
    /// One instruction; false after the last.
    fn step(&mut self) -> Result<bool, String> {
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
                check(self.marks.len())?;
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'N' | 0x88 | 0x89 => self.push(Value::Other)?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Other)?;
            }
            b'F' => {
                self.line()?;
                self.push(Value::Other)?;
            }
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Value::Int(value.into()))?;
            }
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'I' | b'L' => {
                let line = self.line()?;
                let text = std::str::from_utf8(&self.bytes[line]).unwrap_or("").trim_end_matches('L');
                let value = text.parse().map_or(Value::Other, Value::Int);
                self.push(value)?;
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
                self.push(Value::Bytes(line))?;
            }
            b'S' => {
                let line = self.line()?;
                let text = unquoted(&self.bytes[line]).ok_or("a string without its quotes")?;
                self.push(Value::Owned(text))?;
            }
            b']' | b')' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'l' | b't' => {
                let items = self.since_mark()?;
                self.push(Value::List(items))?;
            }
            code @ 0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let from = self.stack.len().checked_sub(count).ok_or("an empty stack")?;
                let items = self.stack.split_off(from);
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(pairs(&items)))?;
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
                let text = |range: Range<usize>| String::from_utf8_lossy(&self.bytes[range]).into_owned();
                let global = format!("{}.{}", text(module), text(name));
                self.push(Value::Global(global))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match &self.values[id] {
                    Value::Bytes(range) if range.len() < 256 => Ok(String::from_utf8_lossy(&self.bytes[range.clone()])),
                    _ => Err("a name that is no text"),
                };
                let global = format!("{}.{}", text(module)?, text(name)?);
                self.push(Value::Global(global))?;
            }
            b'R' | 0x81 => {
                let (arguments, of) = (self.pop()?, self.pop()?);
                self.push(Value::Made { of, arguments, state: None })?;
            }
            b'b' => {
                let set_to = self.pop()?;
                let top = self.top()?;
                if let Value::Made { state, .. } = &mut self.values[top] {
                    *state = Some(set_to);
                }
            }
            other => return Err(format!("an instruction that such a file does not need, 0x{other:02x}")),
        }
        Ok(true)
    }

    /// The next bytes.
    fn take(&mut self, count: usize) -> Result<Range<usize>, String> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len()).ok_or("cut short")?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    /// The next bytes up to a line feed, which is taken, too.
    fn line(&mut self) -> Result<Range<usize>, String> {
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'\n').ok_or("cut short")?;
        let range = self.take(length)?;
        self.take(1)?;
        Ok(range)
    }

    /// The next bytes as a number without sign, the smallest first.
    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let range = self.take(bytes)?;
        Ok(self.bytes[range].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn int(&mut self, bytes: usize) -> Result<(), String> {
        let value = self.number(bytes)? as i64;
        self.push(Value::Int(value))
    }

    /// A number of any length, with sign.
    fn long(&mut self, length: usize) -> Result<(), String> {
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
        self.push(value)
    }

    /// Bytes or text behind their length.
    fn string(&mut self, length: usize) -> Result<(), String> {
        let length = usize::try_from(self.number(length)?).map_err(|_| "cut short")?;
        let range = self.take(length)?;
        self.push(Value::Bytes(range))
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        self.values.push(value);
        check(self.values.len())?;
        self.push_id(self.values.len() - 1)
    }

    fn push_id(&mut self, id: Id) -> Result<(), String> {
        self.stack.push(id);
        check(self.stack.len())
    }

    fn pop(&mut self) -> Result<Id, String> {
        Ok(self.stack.pop().ok_or("an empty stack")?)
    }

    fn top(&self) -> Result<Id, String> {
        Ok(*self.stack.last().ok_or("an empty stack")?)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or("a missing mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        self.items += items.len();
        check(self.items)?;
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => list.extend_from_slice(items),
            _ => return Err("an item for what is no list".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[(Id, Id)]) -> Result<(), String> {
        self.items += items.len();
        check(self.items)?;
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(entries) => entries.extend_from_slice(items),
            _ => return Err("an entry for what is no dictionary".into()),
        }
        Ok(())
    }

    fn keep(&mut self, key: u64) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(key, top);
        check(self.memo.len())
    }

    fn recall(&mut self, key: u64) -> Result<(), String> {
        let id = *self.memo.get(&key).ok_or("a memo that is not there")?;
        self.push_id(id)
    }
}

fn check(things: usize) -> Result<(), String> {
    if things > MAX_THINGS { Err(format!("more than {MAX_THINGS} values")) } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(bytes: &[u8]) -> Result<Vec<i64>, String> {
        let pickle = Pickle::read(bytes)?;
        let Some(Value::List(items)) = pickle.entry("labels").map(|id| pickle.value(id)) else {
            return Err("no labels".into());
        };
        let int = |id: &Id| if let Value::Int(value) = pickle.value(*id) { Some(*value) } else { None };
        Ok(items.iter().filter_map(int).collect())
    }

    #[test]
    fn every_protocol() {
        // pickle.dumps({"labels": [3, 500, -1], "x": b"\xff"}, protocol) of Python 3.13, and 0 of Python 2.
        let two = b"\x80\x02}q\x00(X\x06\x00\x00\x00labelsq\x01]q\x02(K\x03M\xf4\x01J\xff\xff\xff\xffeX\x01\x00\x00\x00xq\x03\
            c_codecs\nencode\nq\x04X\x02\x00\x00\x00\xc3\xbfq\x05X\x06\x00\x00\x00latin1q\x06\x86q\x07Rq\x08u.";
        let four = b"\x80\x04\x95\x1f\0\0\0\0\0\0\0}\x94(\x8c\x06labels\x94]\x94(K\x03M\xf4\x01J\xff\xff\xff\xffe\x8c\x01x\x94C\x01\xff\x94u.";
        let zero = b"(dp1\nS'labels'\np2\n(lp3\nI3\naI500\naI-1\nasS'x'\nS'\\xff'\ns.";
        for bytes in [&two[..], four, zero] {
            assert_eq!(labels(bytes).unwrap(), [3, 500, -1]);
            let pickle = Pickle::read(bytes).unwrap();
            assert_eq!(pickle.bytes(pickle.entry("x").unwrap()).unwrap()[..], [0xff]);
            assert!(pickle.entry("y").is_none());
            for length in 0..bytes.len() {
                // Cut short: an error, whatever it is called.
                assert!(Pickle::read(&bytes[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn calls_are_kept_as_they_are_written() {
        let pickle = Pickle::read(b"\x80\x02cos\nsystem\nU\x04echo\x85R.").unwrap();
        let Value::Made { of, arguments, state: None } = *pickle.value(pickle.root) else { panic!("no call") };
        assert!(pickle.is_global(of, &["os.system"]));
        assert!(matches!(pickle.value(arguments), Value::List(list) if list.len() == 1));
    }

    #[test]
    fn nothing_grows_beyond_its_bound() {
        // A list within a list within a list …, and one that holds itself.
        let nested = [vec![b']'; 200_000], vec![b'a'; 199_999], vec![b'.']].concat();
        assert!(Pickle::read(&nested).is_ok());
        assert!(Pickle::read(b"]q\x00h\x00a.").is_ok());
        for code in [&b"N"[..], b"(", b"N2"] {
            let error = Pickle::read(&[b"N", &code.repeat(MAX_THINGS + 1)[..]].concat()).err().unwrap();
            assert!(error.starts_with("more than"), "{error}");
        }
        for bytes in
            [&b""[..], b".", b"a.", b"e.", b"(R.", b"u.", b"h\x01.", b"\xff.", b"X\xff\xff\xff\xffa.", b"g\xff\n."]
        {
            assert!(Pickle::read(bytes).is_err(), "{bytes:?}");
        }
    }
}
