//! Python's pickles as data: nothing in them is executed or imported.
//!
//! A pickle is a program for a machine with a stack (`Lib/pickletools.py` of CPython). What it would call is kept as it
//! is written (a name, arguments, entries, a state), and whoever reads the result decides what that means. Values lie in
//! one list and refer to each other by their places in it, and text stays where it is in the file, so that neither copies
//! nor depth can grow beyond the file: each instruction leaves at most one value, and their number is limited.
//!
//! Protocols 0 to 5 are read, but for what neither numpy nor PyTorch writes (old classes, extensions, buffers elsewhere).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// The place of a value.
pub type Id = usize;

/// A value of a pickle; what it consists of lies elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`, a truth value, a float, a set, a number of more than 64 bits: nothing that is looked at.
    Other,
    /// A whole number.
    Int(i64),
    /// Bytes or text, a part of the file.
    Bytes(Range<usize>),
    /// Bytes or text that were written in another way.
    Owned(Vec<u8>),
    /// A list or a tuple.
    List(Vec<Id>),
    /// A dictionary, in the order of the file.
    Dict(Vec<(Id, Id)>),
    /// A class or a function: its module and its name, parts of the file.
    Global(Range<usize>, Range<usize>),
    /// What a call would give.
    Made(Box<Made>),
    /// What lies outside of the pickle, by a value that says what that is.
    Persistent(Id),
}

/// What a call would give, and what is done with it then.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// What is called.
    pub of: Id,
    /// With which arguments.
    pub arguments: Id,
    /// Entries that it is given, as those of a dictionary.
    pub entries: Vec<(Id, Id)>,
    /// What it is set to.
    pub state: Option<Id>,
}

/// Why a pickle cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickleError(Cow<'static, str>);

impl fmt::Display for PickleError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PickleError {}

impl From<&'static str> for PickleError {
    fn from(reason: &'static str) -> Self {
        Self(reason.into())
    }
}

type Result<T> = std::result::Result<T, PickleError>;

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    root: Id,
    length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of `bytes`, of at most so many instructions. A value takes 40 bytes, one that a
    /// call makes some 100 more.
    ///
    /// # Errors
    /// It is cut short, has more instructions, one that is not known, or one that does not find what it needs.
    pub fn read(bytes: &'a [u8], max_instructions: usize) -> Result<Self> {
        let mut machine = Machine { bytes, ..Machine::default() };
        for _ in 0..max_instructions {
            if !machine.step()? {
                let root = machine.pop()?;
                return Ok(Self { bytes, values: machine.values, root, length: machine.at });
            }
        }
        Err(PickleError(format!("more than {max_instructions} instructions").into()))
    }

    /// What the pickle is of.
    #[must_use]
    pub fn root(&self) -> Id {
        self.root
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// All values, in the order of the file.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value at a place.
    #[must_use]
    pub fn value(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Other)
    }

    /// The items of a list or a tuple.
    #[must_use]
    pub fn list(&self, id: Id) -> Option<&[Id]> {
        if let Value::List(items) = self.value(id) { Some(items) } else { None }
    }

    /// The value of a key of a dictionary.
    #[must_use]
    pub fn entry(&self, id: Id, key: &str) -> Option<Id> {
        let Value::Dict(entries) = self.value(id) else { return None };
        // The last one counts, as in Python.
        entries.iter().rev().find(|(k, _)| self.bytes(*k).is_some_and(|k| *k == *key.as_bytes())).map(|&(_, id)| id)
    }

    /// Text, or bytes that could be.
    #[must_use]
    pub fn text(&self, id: Id) -> Option<&str> {
        std::str::from_utf8(self.plain(id)?).ok()
    }

    /// Bytes or text. `_codecs.encode(text, "latin1")`, as Python 3 writes bytes for Python 2, is taken for what it gives.
    #[must_use]
    pub fn bytes(&self, id: Id) -> Option<Cow<'_, [u8]>> {
        let Value::Made(made) = self.value(id) else { return self.plain(id).map(Cow::from) };
        let [text, encoding] = self.list(made.arguments)? else { return None };
        let known = self.global(made.of) == Some(("_codecs", "encode")) && self.plain(*encoding)? == b"latin1";
        let latin1 = |c: char| u8::try_from(u32::from(c)).ok();
        known.then(|| self.text(*text)?.chars().map(latin1).collect::<Option<Vec<u8>>>().map(Cow::from))?
    }

    fn plain(&self, id: Id) -> Option<&[u8]> {
        match self.value(id) {
            Value::Bytes(range) => self.bytes.get(range.clone()),
            Value::Owned(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Module and name of a class or a function.
    #[must_use]
    pub fn global(&self, id: Id) -> Option<(&str, &str)> {
        let Value::Global(module, name) = self.value(id) else { return None };
        let text = |range: &Range<usize>| std::str::from_utf8(self.bytes.get(range.clone())?).ok();
        Some((text(module)?, text(name)?))
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
}

impl Machine<'_> {
    /// One instruction; false after the last.
    fn step(&mut self) -> Result<bool> {
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

    fn pop(&mut self) -> Result<Id> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1 << 20;

    fn labels(bytes: &[u8]) -> Result<Vec<i64>> {
        let pickle = Pickle::read(bytes, MOST)?;
        let items = pickle.entry(pickle.root(), "labels").and_then(|id| pickle.list(id)).ok_or("no labels")?;
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
            let pickle = Pickle::read(bytes, MOST).unwrap();
            assert_eq!(pickle.bytes(pickle.entry(pickle.root(), "x").unwrap()).unwrap()[..], [0xff]);
            assert!(pickle.entry(pickle.root(), "y").is_none());
            for length in 0..bytes.len() {
                // Cut short: an error, whatever it is called.
                assert!(Pickle::read(&bytes[..length], MOST).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn calls_are_kept_as_they_are_written() {
        let pickle = Pickle::read(b"\x80\x02cos\nsystem\nU\x04echo\x85R.", MOST).unwrap();
        let Value::Made(made) = pickle.value(pickle.root) else { panic!("no call") };
        assert_eq!((pickle.global(made.of), made.state), (Some(("os", "system")), None));
        assert_eq!(pickle.list(made.arguments).unwrap().len(), 1);
    }

    /// What torch.save writes: a dictionary of a class of its own, and what lies outside of the pickle.
    #[test]
    fn what_is_made_has_entries_and_a_state() {
        let bytes = b"\x80\x02ccollections\nOrderedDict\n)RX\x01\0\0\0aX\x01\0\0\0bQs}b.";
        let pickle = Pickle::read(bytes, MOST).unwrap();
        let Value::Made(made) = pickle.value(pickle.root()) else { panic!("no call") };
        let [(key, value)] = made.entries[..] else { panic!("no entry") };
        let Value::Persistent(id) = *pickle.value(value) else { panic!("not outside") };
        assert_eq!((pickle.text(key), pickle.text(id)), (Some("a"), Some("b")));
        assert!(matches!(pickle.value(made.state.unwrap()), Value::Dict(entries) if entries.is_empty()));
        assert_eq!(pickle.length(), bytes.len());
    }

    #[test]
    fn nothing_grows_beyond_its_bound() {
        // A list within a list within a list …, and one that holds itself.
        let nested = [vec![b']'; 200_000], vec![b'a'; 199_999], vec![b'.']].concat();
        assert!(Pickle::read(&nested, MOST).is_ok());
        assert!(Pickle::read(b"]q\x00h\x00a.", MOST).is_ok());
        let error = Pickle::read(&[b'N'; 100], 99).unwrap_err();
        assert_eq!(error.to_string(), "more than 99 instructions");
        for bytes in
            [&b""[..], b".", b"a.", b"e.", b"(R.", b"u.", b"h\x01.", b"\xff.", b"X\xff\xff\xff\xffa.", b"g\xff\n."]
        {
            assert!(Pickle::read(bytes, MOST).is_err(), "{bytes:?}");
        }
    }
}
