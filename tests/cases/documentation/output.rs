//! Compares what a block printed with what the document says, line by line.
//!
//! In a line of the document, `…` and the blanks next to it stand for anything; a line of only `…`
//! stands for any number of lines, including none. Everything else must be equal, except for
//! numbers that a document cannot know:
//! - Positions (`"position":`, `"created":`, `weir-position:`) depend on what was written before.
//!   They are compared by their distance from the first position on the same side, so the effect
//!   of each write is still checked.
//! - Seconds (`ttl=`, `age:`) depend on how busy the machine is. They are compared by the minute.
//! - `x-response-time:` can be any time, and `;chain=` any chain value.

/// The positions on one side: in the document or in the output.
#[derive(Default)]
pub(super) struct Positions {
    first: Option<i64>,
}

/// The text in front of such numbers.
const LABELS: [&str; 5] = ["\"position\":", "\"created\":", "weir-position: ", "ttl=", "age: "];

/// The text in front of a chain value.
const CHAIN: &str = ";chain=";

impl Positions {
    /// The line in the form in which it is compared, with such numbers replaced.
    fn normal(&mut self, line: &str) -> String {
        let line = line.trim_end();
        if let Some((name, _)) = line.split_once("x-response-time: ") {
            return format!("{name}x-response-time: TIME");
        }
        let mut normal = String::new();
        let mut rest = line;
        while !rest.is_empty() {
            if let Some(chain) = rest.strip_prefix(CHAIN) {
                normal.push_str(CHAIN);
                rest = chain.trim_start_matches(|c: char| c.is_ascii_hexdigit());
                continue;
            }
            let label = LABELS.iter().find(|label| rest.starts_with(**label));
            let Some(label) = label else {
                let next = rest.chars().next().map_or(0, char::len_utf8);
                normal.push_str(&rest[..next]);
                rest = &rest[next..];
                continue;
            };
            let (number, after) = number_after(rest, label);
            normal.push_str(label);
            rest = after;
            let compared = match (*label, number) {
                (_, None) => continue,
                ("ttl=", Some(seconds)) => format!("{}min", (seconds + 59) / 60),
                ("age: ", Some(seconds)) => format!("{}min", seconds / 60),
                (_, Some(position)) => {
                    format!("FIRST{:+}", position - *self.first.get_or_insert(position))
                }
            };
            normal.push_str(&compared);
        }
        normal
    }
}

/// The number after the label at the start of `text`, and the text after both.
fn number_after<'a>(text: &'a str, label: &str) -> (Option<i64>, &'a str) {
    let rest = &text[label.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    (rest[..end].parse().ok(), &rest[end..])
}

/// The document's side and the output's side.
#[derive(Default)]
pub(super) struct Comparison {
    documented: Positions,
    printed: Positions,
}

impl Comparison {
    /// The first difference: the number of the documented line, from 0, and both lines in the form
    /// in which they are compared.
    pub(super) fn difference(&mut self, documented: &str, printed: &str) -> Option<Difference> {
        let expected: Vec<_> =
            documented.lines().map(|line| self.documented.normal(line)).collect();
        let found: Vec<_> = printed.lines().map(|line| self.printed.normal(line)).collect();
        difference(&expected, &found, 0)
    }
}

/// A difference between the document and the output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) line: usize,
    pub(super) documented: String,
    pub(super) printed: String,
}

fn difference(expected: &[String], found: &[String], line: usize) -> Option<Difference> {
    let differs = |documented: &str, printed: &str| {
        let of = str::to_owned;
        Some(Difference { line, documented: of(documented), printed: of(printed) })
    };
    match (expected, found) {
        ([], []) => None,
        ([], [printed, ..]) => differs("(nothing more)", printed),
        ([any, after @ ..], _) if any == "…" => (0..=found.len())
            .map(|skipped| difference(after, &found[skipped..], line + 1))
            .reduce(|first, other| if first.is_none() { first } else { other })
            .flatten(),
        ([documented, ..], []) => differs(documented, "(nothing more)"),
        ([documented, expected @ ..], [printed, found @ ..]) => {
            if fits(documented, printed) {
                difference(expected, found, line + 1)
            } else {
                differs(documented, printed)
            }
        }
    }
}

/// Whether a line matches the documented one, where `…` matches anything.
fn fits(documented: &str, printed: &str) -> bool {
    // Leading blanks are significant, and no line ends with blanks.
    let parts = documented.split('…').enumerate();
    let mut parts = parts.map(|(at, part)| if at == 0 { part.trim_end() } else { part.trim() });
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    let is_whole = parts.peek().is_none();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    is_whole && rest.is_empty()
}

#[test]
fn lines_are_compared_as_documented() {
    let same = [
        ("a\nb", "a\nb\n"),
        ("cache-status: weir; hit", "cache-status: weir; hit\r\n"),
        ("a … c", "a b c"),
        ("a…", "a"),
        ("…b…d", "abcd"),
        ("[1, …", "[1,2]"),
        ("a\n…\nd", "a\nb\nc\nd"),
        ("a\n…\nd", "a\nd"),
        (r#"{"created":8}"#, r#"{"created":1}"#),
        ("{\"created\":8}\n{\"position\":9}", "{\"created\":1}\n{\"position\":2}"),
        ("weir; hit; ttl=299", "weir; hit; ttl=298"),
        ("age: 0", "age: 59"),
        ("age: 0\nx-response-time: 0.012s", "age: 0\nx-response-time: 1.000s"),
    ];
    for (documented, printed) in same {
        let found = Comparison::default().difference(documented, printed);
        assert_eq!(found, None, "{documented:?} {printed:?}");
    }
    let different = [
        ("a\nb", "a\nc", 1),
        ("a", "a\nb", 1),
        ("a\nb", "a", 1),
        ("a…c", "ab", 0),
        ("…b", "abc", 0),
        ("ab…b", "ab", 0),
        ("  a…", "a", 0),
        ("a\n…\nd", "a\nb", 2),
        (r#"{"score":0.1}"#, r#"{"score":0.2}"#, 0),
        ("{\"created\":8}\n{\"position\":9}", "{\"created\":1}\n{\"position\":3}", 1),
        ("weir; hit; ttl=299", "weir; hit; ttl=3599", 0),
        ("age: 0", "age: 60", 0),
    ];
    for (documented, printed, line) in different {
        let found = Comparison::default().difference(documented, printed);
        assert_eq!(found.map(|found| found.line), Some(line), "{documented:?} {printed:?}");
    }
}
