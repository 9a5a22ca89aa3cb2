//! Extracts text and title from Markdown and HTML.
//!
//! Blocks become paragraphs, so that the splitter recognizes them. Formatting is dropped, and so is
//! everything around a page's content (scripts, navigation, forms).

use std::sync::LazyLock;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use scraper::{ElementRef, Html, Node, Selector};

/// The content of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Its title, if it has one.
    pub(super) title: Option<String>,
    /// Its text.
    pub(super) text: String,
}

/// Text that is built block by block.
#[derive(Default)]
struct Paragraphs {
    text: String,
    /// The break to write before the next text, so that the text never ends with one.
    pending: &'static str,
}

impl Paragraphs {
    fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str(self.pending);
        }
        self.pending = "";
        self.text.push_str(text);
    }

    /// Adds `text`, with each run of whitespace reduced to one space.
    fn push_collapsed(&mut self, text: &str) {
        if text.starts_with(char::is_whitespace) {
            self.space();
        }
        for word in text.split_whitespace() {
            self.push(word);
            self.space();
        }
        if !text.ends_with(char::is_whitespace) && self.pending == " " {
            self.pending = "";
        }
    }

    fn space(&mut self) {
        if self.pending.is_empty() {
            self.pending = " ";
        }
    }

    fn line(&mut self) {
        if self.pending != "\n\n" {
            self.pending = "\n";
        }
    }

    fn block(&mut self) {
        self.pending = "\n\n";
    }
}

/// Reads Markdown; the title is its first level-1 heading.
pub(super) fn markdown(source: &str) -> Content {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut text = Paragraphs::default();
    let mut title = None;
    let mut heading: Option<String> = None;
    let mut is_metadata = false;
    for event in Parser::new_ext(source, options) {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) if title.is_none() => {
                heading = Some(String::new());
            }
            Event::End(TagEnd::Heading(HeadingLevel::H1)) => {
                title = title.or(heading.take());
                text.block();
            }
            Event::Start(Tag::MetadataBlock(_)) => is_metadata = true,
            Event::End(TagEnd::MetadataBlock(_)) => is_metadata = false,
            Event::Text(_) if is_metadata => {}
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
                text.push(&part);
            }
            Event::SoftBreak => text.space(),
            Event::HardBreak | Event::End(TagEnd::Item | TagEnd::TableRow | TagEnd::TableHead) => {
                text.line();
            }
            Event::Start(Tag::Item) => text.line(),
            Event::End(TagEnd::TableCell) => text.space(),
            Event::End(
                TagEnd::Paragraph
                | TagEnd::Heading(_)
                | TagEnd::CodeBlock
                | TagEnd::List(_)
                | TagEnd::Table
                | TagEnd::BlockQuote(_)
                | TagEnd::FootnoteDefinition,
            ) => text.block(),
            _ => {}
        }
    }
    Content { title: title.and_then(cleaned), text: text.text.trim_end().to_owned() }
}

/// Reads an HTML page: the text of its `main`, `article` or `body`. The title is its `title`,
/// or otherwise its first `h1`.
pub(super) fn html(source: &str) -> Content {
    static ROOTS: LazyLock<Vec<Selector>> =
        LazyLock::new(|| selectors(&["main, [role=main]", "article", "body"]));
    static TITLES: LazyLock<Vec<Selector>> = LazyLock::new(|| selectors(&["head > title", "h1"]));
    let page = Html::parse_document(source);
    let first =
        |selectors: &[Selector]| selectors.iter().find_map(|selector| page.select(selector).next());
    let title = first(&TITLES).map(|title| title.text().collect::<String>());
    let text = first(&ROOTS).map(text_of).unwrap_or_default();
    Content { title: title.and_then(cleaned), text }
}

fn selectors(sources: &[&str]) -> Vec<Selector> {
    sources.iter().filter_map(|source| Selector::parse(source).ok()).collect()
}

/// Walks the tree without recursion, because pages can be nested to any depth.
fn text_of(root: ElementRef<'_>) -> String {
    let mut text = Paragraphs::default();
    let mut preformatted = 0_usize;
    let root = *root;
    let mut node = root;
    loop {
        let descend = match node.value() {
            Node::Text(part) if preformatted > 0 => {
                text.push(part);
                false
            }
            Node::Text(part) => {
                text.push_collapsed(part);
                false
            }
            Node::Element(element) => {
                separate(&mut text, element.name());
                preformatted += usize::from(element.name() == "pre");
                !is_left_out(element)
            }
            _ => false,
        };
        if let Some(child) = node.first_child().filter(|_| descend) {
            node = child;
            continue;
        }
        loop {
            if let Node::Element(element) = node.value() {
                preformatted -= usize::from(element.name() == "pre");
                separate(&mut text, element.name());
            }
            if node == root {
                return text.text.trim_end().to_owned();
            }
            if let Some(sibling) = node.next_sibling() {
                node = sibling;
                break;
            }
            let Some(parent) = node.parent() else { return text.text };
            node = parent;
        }
    }
}

/// Breaks the text where `element` begins or ends.
fn separate(text: &mut Paragraphs, element: &str) {
    match element {
        "p" | "div" | "section" | "article" | "main" | "pre" | "blockquote" | "ul" | "ol"
        | "dl" | "table" | "figure" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "hr"
        | "details" => {
            text.block();
        }
        "br" | "li" | "dt" | "dd" | "tr" | "summary" | "figcaption" => text.line(),
        "td" | "th" => text.space(),
        _ => {}
    }
}

fn is_left_out(element: &scraper::node::Element) -> bool {
    matches!(
        element.name(),
        "script"
            | "style"
            | "noscript"
            | "template"
            | "svg"
            | "nav"
            | "footer"
            | "button"
            | "form"
            | "iframe"
            | "object"
            | "select"
            | "textarea"
    ) || element.attr("hidden").is_some()
        || element.attr("aria-hidden") == Some("true")
}

/// A title on one line; `None` if it is empty.
fn cleaned(title: String) -> Option<String> {
    let words: Vec<&str> = title.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_paragraphs() {
        for (source, title, text) in [
            ("", None, ""),
            ("# A `b`\n\nOne\ntwo.\n\n- x\n- y\n", Some("A b"), "A b\n\nOne two.\n\nx\ny"),
            ("---\ntitle: t\n---\ntext", None, "text"),
            ("[link](http://x) *and* ![alt](i.png)", None, "link and alt"),
            ("```rust\nfn a() {\n}\n```\nafter", None, "fn a() {\n}\n\n\nafter"),
            ("|a|b|\n|-|-|\n|1|2|\n\nend", None, "a b\n1 2\n\nend"),
            (
                "## only second\n\n# First\n\n# Second",
                Some("First"),
                "only second\n\nFirst\n\nSecond",
            ),
        ] {
            let expected = Content { title: title.map(str::to_owned), text: text.to_owned() };
            assert_eq!(markdown(source), expected, "{source}");
        }
    }

    #[test]
    fn html_is_its_main_content() {
        for (source, title, text) in [
            ("", None, ""),
            (
                "<title>T &amp; U</title><nav>menu</nav><main><h1>H</h1>\n<p>One\n  <b>two</b>, three.</p>\
                 <ul><li>x<li>y</ul><script>no()</script></main><footer>f</footer>",
                Some("T & U"),
                "H\n\nOne two, three.\n\nx\ny",
            ),
            ("<body><h1>H</h1>a<br>b<nav>no</nav></body>", Some("H"), "H\n\na\nb"),
            ("<article>x</article><p>outside", None, "x"),
            ("<pre>a\n  b</pre>c", None, "a\n  b\n\nc"),
            ("<p hidden>no</p><p>un<b>broken</b> word", None, "unbroken word"),
            ("<table><tr><td>1<td>2<tr><td>3</table>", None, "1 2\n3"),
        ] {
            let expected = Content { title: title.map(str::to_owned), text: text.to_owned() };
            assert_eq!(html(source), expected, "{source}");
        }
    }

    #[test]
    fn deep_pages_do_not_exhaust_the_stack() {
        let page = "<div>".repeat(4_000) + "deep";
        assert_eq!(html(&page).text, "deep");
    }
}
