//! Running text, in which what is literal and what is marked up differ by type.
//!
//! Markup comes from the source code alone: a `&'static str` and the template of [`rich!`] may hold `` `code` `` and
//! `**bold**`. A `String` is data (names of classes, paths, what an artefact says) and is always literal.

use std::fmt::Display;

/// A piece of running text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// As it is
    Plain(String),
    /// In the typeface of code
    Code(String),
    /// In bold
    Strong(String),
}

/// Running text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inline(Vec<Span>);

/// What a template's `{}` may be filled with: running text as it is, all else literally.
pub trait Filling {
    /// The pieces in its place; `literal` makes one of data, in the style of the text around it.
    fn spans(&self, literal: &dyn Fn(String) -> Span) -> Vec<Span>;
}

impl<T: Display> Filling for T {
    fn spans(&self, literal: &dyn Fn(String) -> Span) -> Vec<Span> {
        vec![literal(visible(&self.to_string()))]
    }
}

impl Filling for Inline {
    fn spans(&self, _literal: &dyn Fn(String) -> Span) -> Vec<Span> {
        self.0.clone()
    }
}

impl Inline {
    /// Its pieces in order.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// The text without any markup, for a terminal.
    pub fn plain(&self) -> String {
        let text = |span: &Span| match span {
            Span::Plain(text) | Span::Code(text) | Span::Strong(text) => text.clone(),
        };
        self.0.iter().map(text).collect()
    }

    /// The text with its markup, for programs: `` `code` `` and `**bold**`.
    pub fn source(&self) -> String {
        self.0
            .iter()
            .map(|span| match span {
                Span::Plain(text) => text.clone(),
                Span::Code(text) => format!("`{text}`"),
                Span::Strong(text) => format!("**{text}**"),
            })
            .collect()
    }

    /// One after the other, with a space between.
    pub fn join(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut whole = Self::default();
        for part in parts {
            if !whole.0.is_empty() && !part.0.is_empty() {
                whole.push(Span::Plain(" ".to_owned()));
            }
            part.0.into_iter().for_each(|span| whole.push(span));
        }
        whole
    }

    /// A template of the source code with its `{}` filled in order; see [`rich!`].
    pub fn fill(template: &'static str, values: &[&dyn Filling]) -> Self {
        let mut whole = Self::default();
        let mut values = values.iter();
        for (i, part) in template.split('`').enumerate() {
            for (k, piece) in part.split("**").enumerate() {
                let literal: fn(String) -> Span = match (i % 2, k % 2) {
                    (1, _) => Span::Code,
                    (_, 1) => Span::Strong,
                    _ => Span::Plain,
                };
                for (n, text) in piece.split("{}").enumerate() {
                    if n > 0 {
                        let spans = values.next().map(|value| value.spans(&literal)).unwrap_or_default();
                        spans.into_iter().for_each(|span| whole.push(span));
                    }
                    whole.push(literal(text.to_owned()));
                }
            }
        }
        whole
    }

    /// Adds a piece, to the last one if that is of the same kind.
    fn push(&mut self, span: Span) {
        match (self.0.last_mut(), span) {
            (_, Span::Plain(text) | Span::Code(text) | Span::Strong(text)) if text.is_empty() => {}
            (Some(Span::Plain(last)), Span::Plain(text))
            | (Some(Span::Code(last)), Span::Code(text))
            | (Some(Span::Strong(last)), Span::Strong(text)) => last.push_str(&text),
            (_, span) => self.0.push(span),
        }
    }
}

impl From<&'static str> for Inline {
    /// Text of the source code, with its markup.
    fn from(text: &'static str) -> Self {
        Self::fill(text, &[])
    }
}

impl From<String> for Inline {
    /// Data, literally.
    fn from(text: String) -> Self {
        let mut whole = Self::default();
        whole.push(Span::Plain(visible(&text)));
        whole
    }
}

/// Text on one line, without characters that control a terminal or turn the direction of writing.
fn visible(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' => Some(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
            c if c.is_control() => None,
            c => Some(c),
        })
        .collect()
}

/// Running text from a template, `rich!("**{}** has {} seeds.", name, 3)`: markup in the template counts, what fills it
/// is literal unless it is an [`Inline`] itself.
macro_rules! rich {
    ($template:literal $(, $value:expr)* $(,)?) => {
        $crate::document::inline::Inline::fill(
            $template,
            &[$(&$value as &dyn $crate::document::inline::Filling),*],
        )
    };
}
pub(crate) use rich;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_the_source_counts_and_that_of_data_does_not() {
        let name = "**x** `y`".to_owned();
        let text = rich!("**{}** is `{}` of {}.", name, 3, name);
        let plain = |text: &str| Span::Plain(text.to_owned());
        assert_eq!(
            text.spans(),
            [Span::Strong(name.clone()), plain(" is "), Span::Code("3".to_owned()), plain(" of **x** `y`.")]
        );
        assert_eq!(Inline::from(name).spans(), [plain("**x** `y`")]);
        assert_eq!(Inline::from("a `b`").source(), "a `b`");
        assert_eq!(Inline::from("a **b** `c`").plain(), "a b c");
        assert_eq!(rich!("so {}", Inline::from("**b**")).spans(), [plain("so "), Span::Strong("b".to_owned())]);
        assert_eq!(Inline::from("").spans(), []);
    }

    #[test]
    fn pieces_are_joined_by_a_space() {
        let whole = Inline::join([Inline::from("a **b**"), Inline::default(), Inline::from("c".to_owned())]);
        assert_eq!(whole.source(), "a **b** c");
    }

    #[test]
    fn what_controls_a_terminal_or_the_direction_of_writing_is_left_out() {
        assert_eq!(Inline::from("a\u{1b}[31m\nb\u{202e}c\u{7}".to_owned()).plain(), "a[31m bc");
    }
}
