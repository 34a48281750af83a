//! Python's pickles as data: nothing in them is executed or imported.
//!
//! A pickle is a program for a machine with a stack (`Lib/pickletools.py` of CPython). What it would call is kept as it
//! is written (a name, arguments, entries, a state), and whoever reads the result decides what that means. Values lie in
//! one list and refer to each other by their places in it, and text stays where it is in the file, so that neither copies
//! nor depth can grow beyond the file: each instruction leaves at most one value, and their number is limited.
//!
//! Protocols 0 to 5 are read, but for what neither numpy nor PyTorch writes (old classes, extensions, buffers elsewhere).

mod machine;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use machine::Machine;

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
        let mut machine = Machine::new(bytes);
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
