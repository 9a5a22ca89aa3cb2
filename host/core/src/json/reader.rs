//! The strict reader: validates the input and writes its canonical form in one pass.
//!
//! Members are written in the order in which they are read. If an object turns out not to be
//! sorted, its part of the output is sorted when the object closes. The reader allocates the
//! output, a second buffer if anything must be sorted, and a list of open members when there
//! are more than 16.

use smallvec::SmallVec;

use super::{
    JsonError, JsonLimits,
    text::{compare_names, hex4, plain_run, push_canonical, short_escape},
};

pub(super) fn read(input: &[u8], limits: JsonLimits) -> Result<Vec<u8>, JsonError> {
    let JsonLimits { max_bytes, max_depth } = limits;
    if input.len() > max_bytes {
        return Err(JsonError::TooLarge { bytes: input.len(), max_bytes });
    }
    if let Err(error) = std::str::from_utf8(input) {
        return Err(JsonError::InvalidUtf8 { at: error.valid_up_to() });
    }
    let mut reader = Reader {
        input,
        at: 0,
        out: Vec::with_capacity(input.len()),
        members: SmallVec::new(),
        scratch: Vec::new(),
        depth: 0,
        max_depth: max_depth.min(JsonLimits::DEEPEST),
    };
    reader.value()?;
    reader.skip_whitespace();
    if reader.at < input.len() {
        return Err(reader.invalid("there is more text after the end of the value"));
    }
    Ok(reader.out)
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// The members of all open objects; those of the innermost object come last.
    members: SmallVec<[Member; 16]>,
    scratch: Vec<u8>,
    depth: usize,
    max_depth: usize,
}

/// Where a member is in the output, and where its name is in the input.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    name_end: usize,
    end: usize,
    input_at: usize,
}

impl Member {
    /// The name as canonical JSON writes it, without the quotes.
    fn name<'o>(&self, out: &'o [u8]) -> &'o [u8] {
        &out[self.start + 1..self.name_end - 1]
    }
}

impl Reader<'_> {
    fn value(&mut self) -> Result<(), JsonError> {
        self.skip_whitespace();
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.invalid("a value was expected")),
        }
    }

    fn nested(&mut self, inside: fn(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        if self.depth == self.max_depth {
            return Err(JsonError::TooDeep { at: self.at, max_depth: self.max_depth });
        }
        self.depth += 1;
        self.copy_byte();
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), JsonError> {
        self.skip_whitespace();
        if self.peek() == Some(b']') {
            self.copy_byte();
            return Ok(());
        }
        loop {
            self.value()?;
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => self.copy_byte(),
                Some(b']') => break self.copy_byte(),
                _ => return Err(self.invalid("`,` or `]` was expected")),
            }
        }
        Ok(())
    }

    fn object(&mut self) -> Result<(), JsonError> {
        let first = self.members.len();
        let mut sorted = true;
        self.skip_whitespace();
        if self.peek() == Some(b'}') {
            self.copy_byte();
            return Ok(());
        }
        loop {
            let member = self.member()?;
            if let Some(previous) = self.members[first..].last() {
                let order = compare_names(previous.name(&self.out), member.name(&self.out));
                sorted &= order.is_lt();
            }
            self.members.push(member);
            match self.peek() {
                Some(b',') => self.copy_byte(),
                Some(b'}') => break,
                _ => return Err(self.invalid("`,` or `}` was expected")),
            }
        }
        if !sorted {
            self.sort_members(first)?;
        }
        self.members.truncate(first);
        self.copy_byte();
        Ok(())
    }

    /// Reads `"name": value` and the whitespace around it.
    fn member(&mut self) -> Result<Member, JsonError> {
        self.skip_whitespace();
        let (start, input_at) = (self.out.len(), self.at);
        if self.peek() != Some(b'"') {
            return Err(self.invalid("a member's name in double quotes was expected"));
        }
        self.string()?;
        let name_end = self.out.len();
        self.skip_whitespace();
        if self.peek() != Some(b':') {
            return Err(self.invalid("`:` was expected"));
        }
        self.copy_byte();
        self.value()?;
        self.skip_whitespace();
        Ok(Member { start, name_end, end: self.out.len(), input_at })
    }

    /// Sorts the members from index `first`, which belong to the object that closes here.
    fn sort_members(&mut self, first: usize) -> Result<(), JsonError> {
        let Self { members, out, scratch, .. } = self;
        let members = &mut members[first..];
        let body_start = members[0].start;
        members.sort_unstable_by(|a, b| {
            compare_names(a.name(out), b.name(out)).then(a.input_at.cmp(&b.input_at))
        });
        let same = |pair: &&[Member]| pair[0].name(out) == pair[1].name(out);
        if let Some(pair) = members.windows(2).find(same) {
            return Err(duplicate(pair[1].name(out), pair[1].input_at));
        }
        // Sorting moves bytes but keeps their number, including the commas.
        scratch.clear();
        scratch.reserve(out.len() - body_start);
        for member in members {
            if !scratch.is_empty() {
                scratch.push(b',');
            }
            scratch.extend_from_slice(&out[member.start..member.end]);
        }
        out[body_start..].copy_from_slice(scratch);
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.copy_byte();
        loop {
            let rest = &self.input[self.at..];
            let plain = plain_run(rest);
            self.out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => break self.copy_byte(),
                Some(b'\\') => self.escape()?,
                Some(0) => return Err(JsonError::NulInText { at: self.at }),
                Some(_) => {
                    return Err(self.invalid("control characters in a string must be escaped"));
                }
                None => return Err(self.invalid("the string has no end")),
            }
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let character = match self.input.get(start + 1) {
            Some(b'u') => self.unicode_escape()?,
            Some(&letter) => {
                self.at += 2;
                short_escape(letter).ok_or(JsonError::Invalid {
                    at: start,
                    problem: "this escape does not exist in JSON",
                })?
            }
            None => return Err(self.invalid("the string has no end")),
        };
        if character == '\0' {
            return Err(JsonError::NulInText { at: start });
        }
        push_canonical(&mut self.out, character);
        Ok(())
    }

    /// Reads `\uXXXX`, or the surrogate pair that a character above U+FFFF needs.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let mut units = SmallVec::<[u16; 2]>::new();
        units.push(self.unicode_unit()?);
        if matches!(units[0], 0xd800..0xdc00) && self.input[self.at..].starts_with(br"\u") {
            units.push(self.unicode_unit()?);
        }
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => Ok(character),
            _ => Err(JsonError::Invalid {
                at: start,
                problem: "half of a surrogate pair is not a character",
            }),
        }
    }

    fn unicode_unit(&mut self) -> Result<u16, JsonError> {
        let unit = self.input.get(self.at + 2..).and_then(hex4);
        let unit = unit.ok_or_else(|| self.invalid(r"four digits 0-9, a-f must follow `\u`"))?;
        self.at += 6;
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.skip_one_of(b"-");
        if !self.skip_one_of(b"0") {
            self.digits()?;
        }
        if self.skip_one_of(b".") {
            self.digits()?;
        }
        if self.skip_one_of(b"eE") {
            self.skip_one_of(b"+-");
            self.digits()?;
        }
        self.out.extend_from_slice(&self.input[start..self.at]);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.invalid("a digit was expected")) } else { Ok(()) }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), JsonError> {
        if !self.input[self.at..].starts_with(word) {
            return Err(self.invalid("a value was expected"));
        }
        self.out.extend_from_slice(word);
        self.at += word.len();
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn skip_one_of(&mut self, bytes: &[u8]) -> bool {
        let found = self.peek().is_some_and(|byte| bytes.contains(&byte));
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// Copies the byte that was just peeked at.
    fn copy_byte(&mut self) {
        self.out.push(self.input[self.at]);
        self.at += 1;
    }

    fn invalid(&self, problem: &'static str) -> JsonError {
        JsonError::Invalid { at: self.at, problem }
    }
}

fn duplicate(name: &[u8], at: usize) -> JsonError {
    const MAX_CHARACTERS: usize = 64;
    let name = String::from_utf8_lossy(name);
    JsonError::DuplicateKey { at, name: name.chars().take(MAX_CHARACTERS).collect() }
}
