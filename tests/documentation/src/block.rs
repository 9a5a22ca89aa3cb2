//! Fenced code blocks and where they are in the document.

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// A fenced code block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    /// The first word of its info string; empty if there is none.
    pub language: String,
    /// The file of a crate that the block contains, from `file=`.
    pub file: Option<String>,
    /// The file of the repository whose code the block repeats, from `same-as=`.
    pub same_as: Option<String>,
    /// What is between the fences.
    pub text: String,
}

impl Block {
    /// Its first line, which identifies it.
    #[must_use]
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// A block has an attribute that does not exist. If it were ignored, an author could rely on it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: unknown attribute '{word}' of a code block; there are file= and same-as=")]
pub struct UnknownAttribute {
    /// The line of the block's opening fence, from 1.
    pub line: usize,
    /// The unknown attribute.
    pub word: String,
}

/// The fenced code blocks of a document, in order. Indented blocks are ignored.
///
/// # Errors
/// A block has an attribute that does not exist.
pub fn blocks(markdown: &str) -> Result<Vec<Block>, UnknownAttribute> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (event, range) in Parser::new(markdown).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let line = markdown[..range.start].matches('\n').count() + 1;
                open = Some(opened(&info, line)?);
            }
            Event::Text(text) => {
                if let Some(block) = &mut open {
                    block.text.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    Ok(blocks)
}

fn opened(info: &str, line: usize) -> Result<Block, UnknownAttribute> {
    let mut words = info.split_whitespace();
    let language = words.next().unwrap_or_default().to_owned();
    let mut block = Block { line, language, ..Block::default() };
    for word in words {
        match word.split_once('=') {
            Some(("file", path)) => block.file = Some(path.to_owned()),
            Some(("same-as", path)) => block.same_as = Some(path.to_owned()),
            _ => return Err(UnknownAttribute { line, word: word.to_owned() }),
        }
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn fenced_blocks_have_a_language_attributes_and_a_line() {
        let document = "# A\n\n```sh\na\n\nb\n```\n\n    indented\n\n- item\n  ```rust file=x/src/lib.rs\n  c\n  ```\n~~~\nd\n~~~\n";
        let found = blocks(document).unwrap();
        let block = |line, language: &str, file: Option<&str>, text: &str| Block {
            line,
            language: language.to_owned(),
            file: file.map(str::to_owned),
            same_as: None,
            text: text.to_owned(),
        };
        let expected = [
            block(3, "sh", None, "a\n\nb\n"),
            block(12, "rust", Some("x/src/lib.rs"), "c\n"),
            block(15, "", None, "d\n"),
        ];
        assert_eq!(found, expected);
        assert_eq!(found[0].first_line(), "a");
    }

    #[test]
    fn an_unknown_attribute_is_refused() {
        let refused = blocks("\n```sh ignore\n```\n").unwrap_err();
        assert_eq!(refused, UnknownAttribute { line: 2, word: "ignore".to_owned() });
        assert_eq!(blocks("```rust same-as=a\n```").unwrap()[0].same_as.as_deref(), Some("a"));
    }
}
